package sip

import (
	"context"
	"net/netip"
	"time"

	stack "github.com/emiago/sipgo/sip"
)

// maxDatagram is the largest request that goes by UDP to a peer that has TCP: within 200
// bytes of a path MTU that nobody knows (RFC 3261 §18.1.1).
const maxDatagram = 1300

const (
	smallTry  = 500 * time.Millisecond // a peer that has TCP answers a connect within that
	smallTime = 10 * time.Minute       // for which one that has none is not tried again
)

// reach sees to it that a request can leave: that there is a connection, if it wants one.
func (ua *UA) reach(ctx context.Context, req *stack.Request) error {
	return ua.reachAs(ctx, req, req.Recipient.Host)
}

// reach is the same for a request in a dialog. Its URI is the peer's Contact, mostly an
// address; where it goes to the peer itself that is known by its name.
func (l *Leg) reach(ctx context.Context, req *stack.Request) error {
	host, peer := req.Recipient.Host, l.Peer()
	if req.Destination() == peer.Addr.String() {
		host = peer.Host
	}
	return l.ua.reachAs(ctx, req, host)
}

// reachAs connects, if need be, with who has to be a host by its certificate.
func (ua *UA) reachAs(ctx context.Context, req *stack.Request, host string) error {
	if err := ctx.Err(); err != nil {
		return err // sipgo would open a socket of its own
	}
	addr, err := netip.ParseAddrPort(req.Destination())
	if err != nil {
		return nil // sipgo says what is wrong
	}
	return ua.connect(ctx, Peer{Transport: stack.NetworkToLower(req.Transport()), Host: host, Addr: unmap(addr)})
}

// enlarge has an INVITE that is too large for a datagram go by TCP, and the leg with it,
// where the peer has TCP and we listen on it. Otherwise the kernel takes it apart.
func (l *Leg) enlarge(invite *stack.Request) {
	l.mu.Lock()
	peer := l.peer
	l.mu.Unlock()
	if peer.Transport != "udp" || !peer.MayUseTCP || len(invite.String()) <= maxDatagram {
		return
	}
	peer.Transport = "tcp"
	bound, contact, err := l.ua.local(peer)
	if err != nil || !l.ua.hasTCP(peer) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peer, l.bound, l.contact = peer, bound, contact
	invite.RemoveHeader("Via")
	invite.Laddr = stack.Addr{}
	l.ua.address(invite, peer, bound, contact)
	invite.ReplaceHeader(contactOf(contact, peer.Transport))
}

// hasTCP reports whether a peer takes connections, and remembers those that do not.
func (ua *UA) hasTCP(p Peer) bool {
	ua.mu.Lock()
	until := ua.small[p.Addr]
	ua.mu.Unlock()
	if time.Now().Before(until) {
		return false
	}
	ctx, cancel := context.WithTimeout(ua.context(), smallTry)
	defer cancel()
	err := ua.connect(ctx, p)
	if err != nil {
		ua.mu.Lock()
		ua.small[p.Addr] = time.Now().Add(smallTime)
		ua.mu.Unlock()
	}
	return err == nil
}

// destination returns where a request in a dialog goes. Over a stream it is the connection
// that the dialog came by, while that is open: the peer's Contact may be behind NAT, or
// expect a certificate (RFC 5923).
func (l *Leg) destination(d *dialog) string {
	if len(d.routes) == 0 && l.peer.Transport != "udp" && l.ua.isConnected(l.peer) {
		return l.peer.Addr.String()
	}
	return d.hop(l.peer).String()
}
