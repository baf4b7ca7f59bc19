package sip

import (
	"context"

	stack "github.com/emiago/sipgo/sip"
)

// Options asks a peer whether he is there, by an OPTIONS outside any dialog (RFC 3261
// §11), and returns the status that he answers with, whatever it is. Without credentials
// a challenge is an answer like others.
//
// Code 0 is no answer; the error says why: ErrNoResponse after 64·T1, or the
// transport's or the context's. An error with a code is that of credentials that did not
// meet the challenge.
func (ua *UA) Options(ctx context.Context, p Peer, c Credentials) (code int, err error) {
	target := stack.Uri{Scheme: "sip", Host: p.Host}
	if port := p.Addr.Port(); port != p.defaultPort() {
		target.Port = int(port)
	}
	if p.Transport != "udp" {
		target.UriParams = stack.HeaderParams{{K: "transport", V: p.Transport}}
	}
	req, contact, err := ua.newOutside(outside{
		method: stack.OPTIONS, peer: p, target: target, seq: 1, tag: newTag(), callID: newTag(),
		from: stack.Uri{Scheme: "sip", User: c.User}, to: stack.Uri{Scheme: "sip", Host: p.Host},
	})
	if err != nil {
		return 0, err
	}
	req.AppendHeader(contact)
	req.AppendHeader(stack.NewHeader("Accept", "application/sdp"))
	var auth *authorizer
	if c.Password != nil {
		auth = &authorizer{credentials: c}
	}
	res, _, err := ua.ask(ctx, req, auth)
	if res == nil {
		return 0, err
	}
	return res.StatusCode, err
}
