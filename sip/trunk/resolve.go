package trunk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/bewaard/bewaard/sip"
)

// Resolver looks names up, as net.Resolver does.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

// target is one address that a trunk's calls may go to.
type target struct {
	uri    PeerURI
	peer   sip.Peer
	rank   [2]int // priorities, lower first: the configured one, and that of the SRV record
	weight int
}

// resolve finds a peer's addresses as RFC 3263 §4 says, but without NAPTR, which Go's
// resolver does not know: the transport is the configured one. A host with a port, or an
// address, has no SRV records (§4.2).
func (d *Directory) resolve(ctx context.Context, p PeerURI) ([]target, error) {
	if addr, err := netip.ParseAddr(p.Host); err == nil {
		return []target{p.target(addr, p.port(), 0, p.weightOr(1))}, nil
	}
	if p.Port == 0 {
		targets, err := d.services(ctx, p)
		if err != nil || len(targets) > 0 {
			return targets, err
		}
	}
	addrs, err := d.resolver.LookupNetIP(ctx, "ip", p.Host)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", p.Host, err)
	}
	var targets []target
	for _, addr := range addrs {
		targets = append(targets, p.target(addr, p.port(), 0, p.weightOr(1)))
	}
	return targets, nil
}

// services are what the SRV records of a domain name. One whose host has no address is
// left out, and no records at all are no error: then it is a host. A resolver that fails is
// one, where records are known: the host of that name may be somebody else.
func (d *Directory) services(ctx context.Context, p PeerURI) ([]target, error) {
	service, proto := "sip", "udp"
	switch p.Transport {
	case "tcp":
		proto = "tcp"
	case "tls":
		service, proto = "sips", "tcp"
	}
	_, records, err := d.resolver.LookupSRV(ctx, service, proto, p.Host)
	var dns *net.DNSError
	switch {
	case err != nil && len(d.now.Load().found[p]) > 0 && !(errors.As(err, &dns) && dns.IsNotFound):
		return nil, fmt.Errorf("look up services of %s: %w", p.Host, err)
	case err != nil:
		return nil, nil
	}
	var targets []target
	for _, r := range records {
		host := strings.TrimSuffix(r.Target, ".")
		addrs, err := d.resolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			d.parts.Log.Warn("target of SRV record not found", "peer", p.String(), "target", host, "error", err)
			continue
		}
		for _, addr := range addrs {
			targets = append(targets, p.target(addr, r.Port, int(r.Priority), int(r.Weight)))
		}
	}
	return targets, nil
}

// target makes one of the peer's. The request URI and, over TLS, the certificate name the
// peer as it is configured (RFC 5922 §4), whatever host is behind that.
func (p PeerURI) target(addr netip.Addr, port uint16, rank, weight int) target {
	return target{
		peer: sip.Peer{Transport: p.transport(), Host: p.Host, Addr: netip.AddrPortFrom(addr.Unmap(), port), MayUseTCP: p.Transport == ""},
		rank: [2]int{0, rank}, weight: weight,
	}
}

func (p PeerURI) weightOr(n int) int {
	if p.Weight != 0 {
		return int(p.Weight)
	}
	return n
}
