package call

import (
	"net/netip"
	"time"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/srtp"
)

// Media opens what a call needs of the real-time half.
type Media interface {
	// Open takes ports; at says by which address each leg's peer knows us.
	Open(at [2]media.Where) (Session, error)
	// Address is ours, as such a peer is told it.
	Address(at media.Where) netip.Addr
	// Fingerprint is of the certificate that it shows in handshakes.
	Fingerprint() srtp.Fingerprint
}

// Session is one call's media: see media.Session.
type Session interface {
	Local(rtp.Leg) netip.AddrPort
	Connect(rtp.Leg, media.Remote) error
	Relay(from rtp.Leg, on bool)
	Play(rtp.Leg, media.Frames) (Playback, error)
	Beep(leg rtp.Leg, tone media.Frames) error
	Listen(leg rtp.Leg, on bool)
	Capture(*media.Tap)
	Keys() <-chan media.Key
	Broken() <-chan media.Broken
	Events(leg rtp.Leg, types []uint8)
	Clock(leg rtp.Leg, hz int)
	Clocks(leg rtp.Leg, hz map[uint8]int)
	Translate(from rtp.Leg, types map[uint8]uint8)
	Now() time.Time
	Expect(from rtp.Leg, on bool)
	Silences() <-chan rtp.Leg
	Close() media.Stats
}

// Playback is a prompt on its way: see media.Playback.
type Playback interface {
	Done() <-chan struct{}
	Stop()
	Result() media.Played
}

// Engine makes a media.Engine the Media of a manager.
func Engine(e *media.Engine) Media { return engine{e} }

type engine struct{ *media.Engine }

func (e engine) Open(at [2]media.Where) (Session, error) {
	s, err := e.Engine.Open(at)
	if err != nil {
		return nil, err
	}
	return session{s}, nil
}

type session struct{ *media.Session }

func (s session) Play(leg rtp.Leg, frames media.Frames) (Playback, error) {
	p, err := s.Session.Play(leg, frames)
	if err != nil {
		return nil, err
	}
	return p, nil
}
