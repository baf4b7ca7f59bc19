package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/bewaard/bewaard/media/srtp"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/sdp"
)

const (
	frameSamples = 160 // 20 ms
	events       = 101 // of telephone-event in our descriptions
)

// Line is one call at a phone: what is said and what was heard.
type Line struct {
	cfg    Config
	codec  codec
	leg    *sip.Leg
	conn   *net.UDPConn
	hangup chan struct{}
	over   chan struct{}
	once   sync.Once
	busy   sync.WaitGroup
	secure *secure // nil: it is plain
	called bool    // the other side offers
	events bool    // both sides know telephone-events, as far as is known

	mu       sync.Mutex
	to       netip.AddrPort
	speaking bool
	heard    []int16
	packets  int
	ssrc     uint32
	keys     []byte // waiting to be sent
	tones    string // keys that wait to be heard as tones
	quiet    bool   // nothing is to be said: the other side has put us on hold
	deaf     bool   // what comes in is not taken
	held     bool   // we have put the other side on hold
	version  int    // of our description

	more chan struct{} // tells Wait of a packet
	came chan struct{} // tells perform of one
}

func newLine(cfg Config, leg *sip.Leg) (*Line, error) {
	c, err := codecOf(cfg.Codec)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", udpAddr(netip.AddrPortFrom(cfg.Listen.Addr(), 0)))
	if err != nil {
		return nil, err
	}
	l := &Line{
		cfg: cfg, codec: c, leg: leg, conn: conn, hangup: make(chan struct{}), over: make(chan struct{}), ssrc: rand.Uint32(),
		keys: []byte(cfg.Press), more: make(chan struct{}, 1), came: make(chan struct{}, 1), called: leg != nil, deaf: leg == nil && cfg.NoEarly,
		events: !cfg.NoEvents,
	}
	if l.secure, err = newSecure(cfg.SRTP, l.write); err != nil {
		conn.Close()
		return nil, err
	}
	l.busy.Go(l.listen) // ends when close closes the socket
	return l, nil
}

// Hangup ends the call and waits until the line is closed.
func (l *Line) Hangup() {
	l.once.Do(func() { close(l.hangup) })
	<-l.over
}

// Over is closed when the call has ended, whoever ended it.
func (l *Line) Over() <-chan struct{} { return l.over }

// Heard returns a copy of the samples that came in, in the order in which they came.
func (l *Line) Heard() []int16 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]int16(nil), l.heard...)
}

// Key returns the key by which the other side's description says that it protects what the
// line hears.
func (l *Line) Key() srtp.Key {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.secure == nil {
		return srtp.Key{}
	}
	return l.secure.theirs
}

// Packets returns how many RTP packets came in.
func (l *Line) Packets() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.packets
}

// Wait waits until so many packets have come in since the call began. It is for one
// goroutine at a time.
func (l *Line) Wait(ctx context.Context, packets int) error {
	for l.Packets() < packets {
		select {
		case <-l.more:
		case <-l.over:
			return fmt.Errorf("call over after %d packets, want %d", l.Packets(), packets)
		case <-ctx.Done():
			return fmt.Errorf("%d packets, want %d: %w", l.Packets(), packets, ctx.Err())
		}
	}
	return nil
}

// Press sends a key as telephone-events (RFC 4733), after those pressed before.
func (l *Line) Press(key byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keys = append(l.keys, key)
}

func (l *Line) close() {
	close(l.over)
	if l.secure != nil {
		l.secure.end()
	}
	l.conn.Close()
	l.busy.Wait()
}

// description is our offer or answer: an answer has at most the direction that is left by
// the offer.
func (l *Line) description(left sdp.Direction) []byte {
	l.mu.Lock()
	version, direction := 1+l.version, left
	if l.held {
		direction = left.And(sdp.SendOnly)
	}
	l.quiet = !direction.Sends()
	keyed := l.events
	l.mu.Unlock()
	local := l.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	c := l.codec
	formats, keys := fmt.Sprint(c.payloadType), ""
	if keyed {
		formats += fmt.Sprintf(" %d", events)
		keys = fmt.Sprintf("a=rtpmap:%d telephone-event/8000\r\na=fmtp:%d 0-15\r\n", events, events)
	}
	d := fmt.Appendf(nil, "v=0\r\no=- %d %d IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d %s %s\r\na=rtpmap:%d %s\r\n",
		l.ssrc, version, local.Addr(), local.Addr(), local.Port(), l.secure.profile(), formats, c.payloadType, c.name)
	if c.fmtp != "" {
		d = fmt.Appendf(d, "a=fmtp:%d %s\r\n", c.payloadType, c.fmtp)
	}
	return fmt.Appendf(d, "%sa=ptime:20\r\na=%s\r\n%s", keys, direction, l.secure.lines())
}

// hear takes the other side's description: where to speak to, and in which direction.
func (l *Line) hear(body []byte) error {
	_, err := l.take(body)
	return err
}

func (l *Line) take(body []byte) (sdp.Direction, error) {
	d, err := sdp.Parse(body)
	if err != nil {
		return "", err
	}
	m, err := d.Audio()
	if err != nil {
		return "", err
	}
	to, _, err := d.RTP(m)
	if err != nil {
		return "", err
	}
	for _, c := range m.Codecs() {
		if c.PayloadType == l.codec.payloadType {
			l.mu.Lock()
			l.to = to
			l.events = l.events && slices.ContainsFunc(m.Codecs(), sdp.Codec.Event)
			defer l.mu.Unlock()
			if l.secure != nil {
				return d.Direction(m), l.secure.hear(d, m, l.called)
			}
			if m.Profile() != sdp.Plain {
				return "", errProtected
			}
			return d.Direction(m), nil
		}
	}
	return "", fmt.Errorf("no %s in %v", l.codec.name, m.Formats)
}

// speak begins to send; a second call does nothing.
func (l *Line) speak() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.speaking {
		l.speaking = true
		l.busy.Go(l.send) // both end when close closes over
		l.busy.Go(l.perform)
	}
}

// send says the phone's voice in frames of 20 ms until the line is closed.
func (l *Line) send() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	speech, packet := l.codec.newSpeech(), make([]byte, 12, 1500+srtp.Overhead)
	var samples []int16
	var tones string
	toneFrames := 0 // of the tones, sent
	sequence := uint16(rand.Uint32())
	offset := rand.Uint32()
	for frame := 0; ; frame++ {
		// As many frames as are due: a late tick does not slow the voice down.
		for time.Since(began) < time.Duration(frame)*20*time.Millisecond {
			select {
			case <-tick.C:
			case <-l.over:
				return
			}
		}
		l.mu.Lock()
		var key byte
		if len(l.keys) > 0 {
			key, l.keys = l.keys[0], l.keys[1:]
		}
		if tones == "" {
			tones, l.tones, toneFrames = l.tones, "", 0
		}
		quiet := l.quiet
		l.mu.Unlock()
		if quiet {
			continue
		}
		stamp := offset + uint32(frame*l.codec.ticks)
		if key != 0 {
			sequence = l.sendKey(key, sequence, stamp)
		}
		if tones == "" {
			samples = l.codec.say(samples, l.cfg.Voice, frame)
		} else {
			samples = l.codec.say(samples, dialling(tones), toneFrames)
			if toneFrames++; toneFrames == 2*keyTime*len(tones) {
				tones = ""
			}
		}
		packet = speech(packet[:12], samples)
		l.header(packet, l.codec.payloadType, frame == 0, sequence, stamp)
		l.say(packet)
		sequence++
	}
}

// say sends a packet, protected where the line is; one that cannot be yet is not.
func (l *Line) say(packet []byte) {
	if l.secure != nil {
		var err error
		if packet, err = l.secure.out.RTP(packet); err != nil {
			return
		}
	}
	l.write(packet)
}

// write sends a datagram to where the other side hears.
func (l *Line) write(b []byte) error {
	l.mu.Lock()
	to := l.to
	l.mu.Unlock()
	_, err := l.conn.WriteToUDPAddrPort(b, to)
	return err
}

func (l *Line) header(packet []byte, payloadType byte, marker bool, sequence uint16, stamp uint32) {
	packet[0], packet[1] = 0x80, payloadType
	if marker {
		packet[1] |= 0x80
	}
	binary.BigEndian.PutUint16(packet[2:], sequence)
	binary.BigEndian.PutUint32(packet[4:], stamp)
	binary.BigEndian.PutUint32(packet[8:], l.ssrc)
}

// sendKey sends a key's event with its three ends (RFC 4733 §2.5.1.4).
func (l *Line) sendKey(key byte, sequence uint16, stamp uint32) uint16 {
	code := byte(0)
	switch {
	case key >= '0' && key <= '9':
		code = key - '0'
	case key == '*':
		code = 10
	case key == '#':
		code = 11
	}
	packet := make([]byte, 16, 16+srtp.Overhead)
	for i := range 5 {
		l.header(packet, events, i == 0, sequence, stamp)
		packet[12], packet[13] = code, 10
		if i >= 2 {
			packet[13] |= 0x80
		}
		binary.BigEndian.PutUint16(packet[14:], uint16(min(i+1, 3)*l.codec.ticks))
		l.say(packet)
		sequence++
	}
	return sequence
}

// listen keeps what comes in.
func (l *Line) listen() {
	buf := make([]byte, 1500)
	hearing := l.codec.newHearing()
	var samples []int16
	for {
		n, _, err := l.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		packet := buf[:n]
		if l.secure != nil {
			packet = l.secure.plain(packet)
			n = len(packet)
		}
		if n < 12 || packet[0]>>6 != 2 || packet[1]&0x7f != l.codec.payloadType {
			continue
		}
		samples = hearing(samples, packet[12:n])
		l.mu.Lock()
		if l.deaf {
			l.mu.Unlock()
			continue
		}
		l.packets++
		l.heard = l.codec.heard(l.heard, samples)
		l.mu.Unlock()
		for _, tell := range []chan struct{}{l.more, l.came} {
			select {
			case tell <- struct{}{}:
			default:
			}
		}
	}
}
