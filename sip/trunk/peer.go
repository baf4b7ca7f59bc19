package trunk

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// PeerURI is a peer as configured: sip:host:port;transport=tcp;priority=2;weight=10.
type PeerURI struct {
	Host string
	// Port is 0 where it is left out: then SRV records may name it, or it is the default.
	Port uint16
	// Transport is udp, tcp or tls, or "" where it is left out: then it is UDP, and TCP for
	// what is too large for that.
	Transport string
	// Priority is which peers are tried first: those with the lowest. Default: the order of
	// the list.
	Priority uint16
	// Weight is the share of the calls among peers of one priority. Default: an even one.
	Weight uint16
}

// UnmarshalText reads sip:host[:port][;transport=udp|tcp|tls][;priority=n][;weight=n], and
// sips: for TLS.
func (p *PeerURI) UnmarshalText(text []byte) error {
	fault := func(why string) error { return fmt.Errorf("peer %.60q: %s", text, why) }
	var peer PeerURI
	rest, ok := strings.CutPrefix(string(text), "sip:")
	if !ok {
		if rest, ok = strings.CutPrefix(string(text), "sips:"); !ok {
			return fault("not a URI such as sip:10.0.0.5:5060")
		}
		peer.Transport = "tls"
	}
	hostport, params, _ := strings.Cut(rest, ";")
	if _, host, ok := strings.Cut(hostport, "@"); ok {
		return fault("a peer has no user part: sip:" + host)
	}
	if params != "" {
		for param := range strings.SplitSeq(params, ";") {
			if why := peer.parameter(param); why != "" {
				return fault(why)
			}
		}
	}
	peer.Host = hostport
	if host, port, err := net.SplitHostPort(hostport); err == nil {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 {
			return fault("the port is a number from 1 to 65535")
		}
		peer.Host, peer.Port = host, uint16(number)
	} else if inner, ok := strings.CutPrefix(hostport, "["); ok {
		peer.Host = strings.TrimSuffix(inner, "]")
	}
	addr, err := netip.ParseAddr(peer.Host)
	bare6 := err == nil && addr.Is6() && !strings.HasPrefix(hostport, "[")
	if peer.Host == "" || bare6 || err != nil && strings.ContainsAny(peer.Host, "@/ <>[]:") {
		return fault("the host is a name or an address, IPv6 in brackets")
	}
	switch {
	case err != nil && strings.Trim(peer.Host, "0123456789.") == "":
		return fault("the host is no IPv4 address: these are four numbers up to 255")
	case err == nil && (addr.IsUnspecified() || addr.IsMulticast()):
		return fault("no peer has that address")
	}
	*p = peer
	return nil
}

// parameter takes one of the URI's and says what is wrong with it.
func (p *PeerURI) parameter(param string) (why string) {
	name, value, _ := strings.Cut(param, "=")
	switch strings.ToLower(name) {
	case "transport":
		value = strings.ToLower(value)
		if value != "udp" && value != "tcp" && value != "tls" {
			return "transport is udp, tcp or tls"
		}
		if p.Transport == "tls" && value == "udp" {
			return "sips is TLS, which is not over UDP"
		}
		if p.Transport != "tls" {
			p.Transport = value
		}
	case "priority", "weight":
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil || n == 0 {
			return name + " is a number from 1 to 65535"
		}
		if strings.EqualFold(name, "priority") {
			p.Priority = uint16(n)
		} else {
			p.Weight = uint16(n)
		}
	default:
		return "the parameters there are: transport, priority, weight"
	}
	return ""
}

// MarshalText writes a form that UnmarshalText reads.
func (p PeerURI) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func (p PeerURI) String() string {
	s := "sip:" + p.hostPort()
	if p.Transport != "" {
		s += ";transport=" + p.Transport
	}
	if p.Priority != 0 {
		s += ";priority=" + strconv.Itoa(int(p.Priority))
	}
	if p.Weight != 0 {
		s += ";weight=" + strconv.Itoa(int(p.Weight))
	}
	return s
}

// hostPort is the peer's name in metrics: its host, and its port where one is written.
func (p PeerURI) hostPort() string {
	if p.Port == 0 {
		if strings.Contains(p.Host, ":") {
			return "[" + p.Host + "]"
		}
		return p.Host
	}
	return net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port)))
}

// transport is what the peer is reached by.
func (p PeerURI) transport() string {
	if p.Transport == "" {
		return "udp"
	}
	return p.Transport
}

// port is the peer's port where nothing names another (RFC 3261 §19.1.2).
func (p PeerURI) port() uint16 {
	switch {
	case p.Port != 0:
		return p.Port
	case p.Transport == "tls":
		return 5061
	}
	return 5060
}

// place is the peer without what does not make it another one.
func (p PeerURI) place() PeerURI {
	return PeerURI{Host: p.Host, Port: p.port(), Transport: p.transport()}
}
