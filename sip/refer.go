package sip

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	stack "github.com/emiago/sipgo/sip"
)

// ReferTarget is who a REFER names (RFC 3515 §2.1).
type ReferTarget struct {
	User string // the number, or a URI that is none whole
	Host string // without brackets
	Port uint16
	// Replaces names the dialog whose place the call is to take, as a Replaces header does
	// (RFC 3891 §6.1); "" for none.
	Replaces string
}

// ErrNoDialog says that a Replaces header names no dialog that the trunk has with us.
var ErrNoDialog = errors.New("Replaces names no dialog of ours")

var errReferTo = errors.New("Refer-To is not a URI that can be called")

// ParseReferTo reads the value of a Refer-To header.
func ParseReferTo(v string) (ReferTarget, error) {
	var uri stack.Uri
	if _, err := stack.ParseAddressValue(v, &uri, &stack.HeaderParams{}); err != nil || !slices.Contains(schemes, uri.Scheme) {
		return ReferTarget{}, errReferTo
	}
	t := ReferTarget{User: user(&uri), Host: strings.Trim(uri.Host, "[]"), Port: 5060}
	if uri.Port > 0 && uri.Port < 1<<16 {
		t.Port = uint16(uri.Port)
	}
	for _, p := range uri.Headers {
		switch {
		case strings.EqualFold(p.K, "Replaces"):
			replaces, err := url.PathUnescape(p.V)
			if err != nil || strings.ContainsFunc(replaces, isControl) {
				return ReferTarget{}, errReferTo
			}
			t.Replaces = replaces
		case strings.EqualFold(p.K, "method") && !strings.EqualFold(p.V, "INVITE"):
			return ReferTarget{}, errReferTo
		}
	}
	if t.User == "" {
		return ReferTarget{}, errReferTo
	}
	return t, nil
}

// Named returns the leg that a Replaces header of a trunk's names (RFC 3891 §3), nil for none.
// Another trunk's are not the peer's to name.
func (ua *UA) Named(trunk, replaces string) *Leg {
	callID, params, _ := strings.Cut(replaces, ";")
	var toTag, fromTag string
	for p := range strings.SplitSeq(params, ";") {
		switch name, v, _ := strings.Cut(strings.TrimSpace(p), "="); strings.ToLower(strings.TrimSpace(name)) {
		case "to-tag":
			toTag = strings.TrimSpace(v)
		case "from-tag":
			fromTag = strings.TrimSpace(v)
		}
	}
	l := ua.leg(toTag)
	if l == nil || l.trunk != trunk || l.callID != strings.TrimSpace(callID) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dialogOf(fromTag) == nil || l.state == over {
		return nil
	}
	return l
}

// Replaces translates a trunk's Replaces header that names a leg of ours: it then names, as
// that side knows it, the dialog of the leg that it is joined to.
func (ua *UA) Replaces(trunk, v string) (string, error) {
	_, replaces, err := ua.joined(trunk, v)
	return replaces, err
}

// joined returns the leg that the one which a trunk names is joined to, and what names its
// dialog at its peer.
func (ua *UA) joined(trunk, replaces string) (*Leg, string, error) {
	named := ua.Named(trunk, replaces)
	if named == nil {
		return nil, "", ErrNoDialog
	}
	l := named.partner.Load()
	if l == nil {
		return nil, "", ErrNoDialog
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dialog.remoteTag == "" || l.state == over {
		return nil, "", ErrNoDialog
	}
	return l, fmt.Sprintf("%s;to-tag=%s;from-tag=%s", l.callID, l.dialog.remoteTag, l.localTag), nil
}

// ReferTo translates a trunk's Refer-To header for the peer of another leg: the number at that
// peer's side, and a dialog of ours by the name that it has there.
func (ua *UA) ReferTo(trunk, v string, to *Leg) (string, error) {
	t, err := ParseReferTo(v)
	if err != nil {
		return "", err
	}
	if t.Replaces == "" {
		target := targetOf(Invite{Called: t.User, Peer: to.Peer()})
		return "<" + target.String() + ">", nil
	}
	l, replaces, err := ua.joined(trunk, t.Replaces)
	if err != nil {
		return "", err
	}
	l.mu.Lock()
	target := *l.dialog.target.Clone()
	l.mu.Unlock()
	target.User = cmp.Or(target.User, t.User)
	return "<" + target.String() + "?Replaces=" + url.QueryEscape(replaces) + ">", nil
}

// referrals are the REFERs of a leg. About each there are NOTIFYs with an Event of its own (RFC
// 3515 §2.4.6), by which alone who sent it tells them apart.
type referrals struct {
	came   bool              // the peer has sent one
	passed map[uint32]string // ours for the other party, by CSeq: the Event that it expects. 0 is the first
}

// maxReferrals is how many REFERs that we passed on in a dialog are told apart.
const maxReferrals = 16

// event returns the Event of the NOTIFYs about a REFER of the peer's.
func (r *referrals) event(seq uint32) string {
	if !r.came {
		r.came = true
		return "refer"
	}
	return fmt.Sprintf("refer;id=%d", seq)
}

// pass notes what Event the other party expects about a REFER of ours.
func (r *referrals) pass(seq uint32, event string) {
	if r.passed == nil {
		r.passed = map[uint32]string{0: event}
	}
	if len(r.passed) < maxReferrals {
		r.passed[seq] = event
	}
}

// again notes that a REFER of ours is sent anew.
func (r *referrals) again(was, is uint32) {
	if event, ok := r.passed[was]; ok {
		r.pass(is, event)
	}
}

// translate returns the Event of a NOTIFY about a REFER of ours as the other party expects it.
func (r *referrals) translate(event string) string {
	name, params, _ := strings.Cut(event, ";")
	if !strings.EqualFold(strings.TrimSpace(name), "refer") {
		return event
	}
	var seq uint64
	for p := range strings.SplitSeq(params, ";") {
		if name, v, _ := strings.Cut(p, "="); strings.EqualFold(strings.TrimSpace(name), "id") {
			var err error
			if seq, err = strconv.ParseUint(strings.TrimSpace(v), 10, 32); err != nil {
				return event
			}
		}
	}
	return cmp.Or(r.passed[uint32(seq)], event)
}

// refer takes what a REFER or NOTIFY that came says of which REFER it is about.
func (l *Leg) refer(r *Request, seq uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Method == "REFER" {
		r.Event = l.referrals.event(seq)
	}
	for i, h := range r.Headers {
		if r.Method == "NOTIFY" && h.Name == "Event" {
			r.Headers[i].Value = l.referrals.translate(h.Value)
		}
	}
}
