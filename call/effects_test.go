package call

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
	"github.com/bewaard/bewaard/media/srtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip/siptest"
	"github.com/bewaard/bewaard/sip/trunk"
	"github.com/bewaard/bewaard/store"
)

// journal is what a call did to media, recorder and rows, in order. Rows are written
// beside the call, so they have a journal of their own.
type journal struct {
	mu            sync.Mutex
	effects, rows []string
	last          store.Row
	opened        int // media sessions
	keys          []srtp.Key
	broken        chan media.Broken
	pressed       chan media.Key
	playback      *fakePlayback // the last

	// What the media was told last, by leg.
	events   [2][]uint8
	expected [2]bool
	played   [2]uint8    // payload type
	final    media.Stats // what Close returns
}

// latest is the row as it was written last.
func (j *journal) latest() store.Row {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

func (j *journal) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.effects = append(j.effects, fmt.Sprintf(format, args...))
}

// Begin and Update are Rows.
func (j *journal) Begin(r store.Row) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rows = append(j.rows, string(r.State))
	return nil
}

func (j *journal) Update(id string, change func(*store.Row) error) (store.Row, error) {
	var r store.Row
	err := change(&r)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last = r
	words := []string{string(r.State), r.Outcome, r.Reason}
	for _, joined := range r.Joined {
		words = append(words, joined.Number+" joined")
	}
	if r.ContinuedIn != "" {
		words = append(words, "continued")
	}
	j.rows = append(j.rows, strings.Join(strings.Fields(strings.Join(words, " ")), " "))
	return r, err
}

// Record and Finalize are Recorder.
func (j *journal) Record(g spool.Grant, h spool.Header, _ *media.Tap) Recording {
	j.note("record %s by %s, caller's channel %d", g.Terms().Purpose, g.Terms().Rule, h.Legs[rtp.Caller].Channel)
	return fakeRecording{j}
}
func (j *journal) Finalize(string) { j.note("finalize") }

type fakeRecording struct{ *journal }

func (r fakeRecording) Failed() <-chan struct{} { return nil }
func (r fakeRecording) Stop()                   { r.note("stop recording") }
func (r fakeRecording) Event(e spool.Event) {
	r.note("%s of the %v", e.Kind, e.Leg)
	if e.Written != nil {
		time.AfterFunc(100*time.Millisecond, func() { e.Written <- nil })
	}
}
func (r fakeRecording) Close(string) error { r.note("close spool"); return nil }
func (r fakeRecording) Discard(row store.Row, by string) error {
	r.note("discard spool, row %s %s", row.State, row.Reason)
	return nil
}

// Open is Media.
func (j *journal) Open(at [2]media.Where) (Session, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.opened++
	return &fakeSession{j, at, 20000 + 4*uint16(j.opened-1), [2]bool{}}, nil
}

// Address is Media.
func (j *journal) Address(at media.Where) netip.Addr {
	if at.Advertise.IsValid() {
		return at.Advertise
	}
	return netip.MustParseAddr("192.0.2.1")
}

// Fingerprint is Media.
func (j *journal) Fingerprint() srtp.Fingerprint {
	return srtp.Fingerprint{Hash: "sha-256", Sum: strings.Repeat("f", 32)}
}

type fakeSession struct {
	*journal
	at      [2]media.Where
	first   uint16
	listens [2]bool
}

func (s *fakeSession) Local(leg rtp.Leg) netip.AddrPort {
	return netip.AddrPortFrom(s.Address(s.at[leg]), s.first+2*uint16(leg))
}
func (s *fakeSession) Connect(leg rtp.Leg, r media.Remote) error {
	raw := ""
	if r.Raw {
		raw = " raw"
	}
	raw += s.protection(r.Secure)
	s.note("connect %v to %v%s", leg, r.RTP, raw)
	return nil
}
func (s *fakeSession) Relay(from rtp.Leg, on bool)   { s.note("relay %v %v", from, on) }
func (s *fakeSession) Capture(t *media.Tap)          { s.note("capture %v", t != nil) }
func (s *fakeSession) Keys() <-chan media.Key        { return s.pressed }
func (s *fakeSession) Now() time.Time                { return time.Now() }
func (s *fakeSession) Broken() <-chan media.Broken   { return s.broken }
func (s *fakeSession) Silences() <-chan rtp.Leg      { return nil }
func (s *fakeSession) Clock(rtp.Leg, int)            {}
func (s *fakeSession) Clocks(rtp.Leg, map[uint8]int) {}

func (s *fakeSession) Listen(leg rtp.Leg, on bool) {
	if s.listens[leg] != on {
		s.listens[leg] = on
		s.note("listen to %v %v", leg, on)
	}
}
func (s *fakeSession) Beep(leg rtp.Leg, f media.Frames) error {
	s.note("beep %d frames to %v", len(f.Payloads), leg)
	return nil
}

func (s *fakeSession) Events(leg rtp.Leg, types []uint8) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events[leg] = types
}

func (s *fakeSession) Expect(leg rtp.Leg, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expected[leg] = on
}

func (s *fakeSession) Translate(from rtp.Leg, types map[uint8]uint8) {
	if types != nil {
		s.note("translate %v %v", from, types)
	}
}
func (s *fakeSession) Close() media.Stats { s.note("close media"); return s.final }
func (s *fakeSession) Play(leg rtp.Leg, f media.Frames) (Playback, error) {
	s.note("play %d frames to %v", len(f.Payloads), leg)
	s.mu.Lock()
	s.played[leg] = f.PayloadType
	s.mu.Unlock()
	p := &fakePlayback{journal: s.journal, done: make(chan struct{}), total: len(f.Payloads)}
	p.end = time.AfterFunc(time.Duration(p.total)*20*time.Millisecond, func() { close(p.done) })
	s.mu.Lock()
	s.playback = p
	s.mu.Unlock()
	return p, nil
}

// fakePlayback takes as long as a real one.
type fakePlayback struct {
	*journal
	done  chan struct{}
	end   *time.Timer
	total int
}

func (p *fakePlayback) Done() <-chan struct{} { return p.done }
func (p *fakePlayback) Stop() {
	if p.end.Stop() {
		p.note("interrupt")
		p.total = -1
		close(p.done)
	}
}
func (p *fakePlayback) Result() media.Played {
	return media.Played{Complete: p.total >= 0, Packets: max(p.total, 0), LastAt: time.Now()}
}

// bubble is a manager in a bubble of its own time, between a PBX and a carrier that say
// what the test makes them say.
type bubble struct {
	*testing.T
	*journal
	network      *siptest.Network
	manager      *Manager
	pbx, carrier *siptest.Peer
}

const (
	usAt      = "192.0.2.1:5060"
	carrierAt = "203.0.113.3:5060"
	pbxAt     = "10.0.0.5:5060"
)

func description(host string, port int) string {
	return fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n", host, host, port)
}

var offered, answeredWith = description("203.0.113.3", 4000), description("10.0.0.5", 6000)

func inBubble(t *testing.T, test func(b *bubble)) {
	t.Helper()
	inBubbleOf(t, nil, nil, test)
}

// inBubbleOf is a bubble with a policy and trunks of the test's.
func inBubbleOf(t *testing.T, policies func(*policy.Config), trunks func(pbx, carrier *trunk.Config), test func(b *bubble)) {
	t.Helper()
	prompts := testPrompts(t, 500)
	rules := testPolicy(t, policies)
	never := time.Duration(0)
	pbx := trunk.Config{Side: trunk.Internal, Peers: []trunk.PeerURI{{Host: "10.0.0.5", Port: 5060, Transport: "udp"}}, Ping: &never}
	carrier := trunk.Config{Side: trunk.External, Peers: []trunk.PeerURI{{Host: "203.0.113.3", Port: 5060, Transport: "udp"}}, Ping: &never}
	if trunks != nil {
		trunks(&pbx, &carrier)
	}
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{T: t, journal: &journal{pressed: make(chan media.Key)}}
		network := siptest.NewNetwork()
		b.network = network
		b.manager = New(Config{Trunks: map[string]trunk.Config{"pbx": pbx, "carrier": carrier}}, Parts{
			Policy: rules, Prompts: prompts, Media: b.journal, Recorder: b.journal, Rows: b.journal,
			Metrics: NewMetrics(nil), Log: slog.New(slog.DiscardHandler),
		})
		b.manager.trunks.Refresh(t.Context())
		b.manager.ua.ServePacket(network.Listen(usAt))
		b.pbx, b.carrier = siptest.NewPeer(t, network, pbxAt, usAt), siptest.NewPeer(t, network, carrierAt, usAt)
		test(b)
		synctest.Wait()
		if err := b.manager.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

// did holds the journal against what is wanted since the last look.
func (b *bubble) did(want ...string) {
	b.Helper()
	synctest.Wait()
	b.mu.Lock()
	got := b.effects
	b.effects = nil
	b.mu.Unlock()
	if diff := cmp.Diff(want, got); diff != "" {
		b.Errorf("effects (-want +got):\n%s", diff)
	}
}

func (b *bubble) wrote(want ...string) {
	b.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if diff := cmp.Diff(want, b.rows); diff != "" {
		b.Errorf("rows (-want +got):\n%s", diff)
	}
}

// inbound brings a call of the carrier's to where the prompt plays.
func (b *bubble) inbound() siptest.Message {
	b.Helper()
	invite := b.carrier.Invite("+31205550100", offered, "")
	b.carrier.Expect("SIP/2.0 100")
	progress := b.carrier.Expect("SIP/2.0 183")
	if !strings.Contains(progress.Body(), "m=audio 20000 RTP/AVP 8\r\n") {
		b.Errorf("got early media %q", progress.Body())
	}
	b.did("connect caller to 203.0.113.3:4000", "play 25 frames to caller")
	return invite
}

// An inbound call from its INVITE to its end: the PBX rings when the prompt is over,
// and the capture begins when both are connected, not before.
func TestEffectsOfInboundCall(t *testing.T) {
	inBubble(t, func(b *bubble) {
		began := time.Now()
		invite := b.inbound()
		toPBX := b.pbx.Expect("INVITE sip:+31205550100@10.0.0.5")
		if waited := toPBX.At.Sub(began); waited != 500*time.Millisecond {
			t.Errorf("got the PBX's INVITE after %v, want it at the end of the prompt", waited)
		}
		if !strings.Contains(toPBX.Body(), "c=IN IP4 192.0.2.1\r\n") || !strings.Contains(toPBX.Body(), "m=audio 20002 RTP/AVP 8\r\n") {
			t.Errorf("got offer %q, want it with our address", toPBX.Body())
		}
		b.did()
		b.pbx.Reply(toPBX, "180 Ringing", "")
		b.carrier.Expect("SIP/2.0 180")
		b.did("play 250 frames to caller")
		answer := b.pbx.Reply(toPBX, "200 OK", answeredWith)
		b.pbx.Expect("ACK ")
		answered := b.carrier.Expect("SIP/2.0 200")
		b.did("interrupt", "connect callee to 10.0.0.5:6000", "relay caller true", "relay callee true", "record quality by in, caller's channel 0", "capture true")
		b.carrier.InDialog("ACK", invite, answered, 1)
		b.pbx.DialogRequest("BYE", toPBX, answer, 1)
		b.pbx.Expect("SIP/2.0 200")
		bye := b.carrier.Expect("BYE ")
		b.carrier.Reply(bye, "200 OK", "")
		b.did("capture false", "stop recording", "close media", "close spool", "finalize")
		b.wrote("calling", "recording", "finalizing answered")
	})
}

// Early media of the PBX goes to the caller before the answer, and is not captured.
func TestEffectsOfEarlyMedia(t *testing.T) {
	inBubble(t, func(b *bubble) {
		invite := b.inbound()
		toPBX := b.pbx.Expect("INVITE ")
		b.pbx.Reply(toPBX, "183 Session Progress", answeredWith)
		b.carrier.Expect("SIP/2.0 183")
		b.did("connect callee to 10.0.0.5:6000", "relay callee true", "relay caller true")
		b.carrier.Transaction("CANCEL", invite, invite.Header("To"))
		b.carrier.Expect("SIP/2.0 200")
		terminated := b.carrier.Expect("SIP/2.0 487")
		b.carrier.Transaction("ACK", invite, terminated.Header("To"))
		cancel := b.pbx.Expect("CANCEL ")
		b.pbx.Reply(cancel, "200 OK", "")
		b.pbx.Reply(toPBX, "487 Request Terminated", "")
		b.pbx.Expect("ACK ")
		b.did("close media")
		b.wrote("calling", "not_recorded cancelled not_connected")
	})
}

// A caller who gives up in the last packet of the prompt was not told.
func TestEffectsOfCancelInPrompt(t *testing.T) {
	inBubble(t, func(b *bubble) {
		invite := b.inbound()
		time.Sleep(499 * time.Millisecond) // of the bubble's
		b.carrier.Transaction("CANCEL", invite, invite.Header("To"))
		b.carrier.Expect("SIP/2.0 200")
		terminated := b.carrier.Expect("SIP/2.0 487")
		b.carrier.Transaction("ACK", invite, terminated.Header("To"))
		b.did("interrupt", "close media")
		b.pbx.Silent(time.Minute)
		b.wrote("calling", "not_recorded cancelled not_connected")
	})
}

// A PBX that rings and rings: after 200 s the caller gets a 480, the PBX a CANCEL.
func TestEffectsOfNoAnswer(t *testing.T) {
	inBubble(t, func(b *bubble) {
		invite := b.inbound()
		toPBX := b.pbx.Expect("INVITE ")
		b.pbx.Reply(toPBX, "180 Ringing", "")
		b.carrier.Expect("SIP/2.0 180")
		time.Sleep(ringTimeout - time.Second) // of the bubble's
		b.pbx.Silent(500 * time.Millisecond)
		cancel := b.pbx.Expect("CANCEL ")
		b.pbx.Reply(cancel, "200 OK", "")
		b.pbx.Reply(toPBX, "487 Request Terminated", "")
		b.pbx.Expect("ACK ")
		refused := b.carrier.Expect("SIP/2.0 480")
		b.carrier.Transaction("ACK", invite, refused.Header("To"))
		b.wrote("calling", "not_recorded no_answer not_connected")
	})
}

// Both hang up at once: each BYE is answered, and the call ends once.
func TestEffectsOfByeGlare(t *testing.T) {
	inBubble(t, func(b *bubble) {
		invite := b.inbound()
		toPBX := b.pbx.Expect("INVITE ")
		answer := b.pbx.Reply(toPBX, "200 OK", answeredWith)
		b.pbx.Expect("ACK ")
		answered := b.carrier.Expect("SIP/2.0 200")
		b.carrier.InDialog("ACK", invite, answered, 1)
		b.did("connect callee to 10.0.0.5:6000", "relay caller true", "relay callee true", "record quality by in, caller's channel 0", "capture true")
		b.pbx.DialogRequest("BYE", toPBX, answer, 1)
		b.pbx.Expect("SIP/2.0 200")
		bye := b.carrier.Expect("BYE ")
		b.carrier.InDialog("BYE", invite, answered, 2)
		b.carrier.Expect("SIP/2.0 200")
		b.carrier.Reply(bye, "481 Call/Transaction Does Not Exist", "")
		b.did("capture false", "stop recording", "close media", "close spool", "finalize")
		b.wrote("calling", "recording", "finalizing answered")
	})
}

// The PBX answers with nothing that was offered: it gets a BYE, the caller a 488.
func TestEffectsOfAnswerWithoutCodec(t *testing.T) {
	inBubble(t, func(b *bubble) {
		invite := b.inbound()
		toPBX := b.pbx.Expect("INVITE ")
		b.pbx.Reply(toPBX, "200 OK", strings.ReplaceAll(strings.ReplaceAll(answeredWith, "AVP 8", "AVP 18"), "8 PCMA", "18 G729"))
		b.pbx.Expect("ACK ")
		bye := b.pbx.Expect("BYE ")
		b.pbx.Reply(bye, "200 OK", "")
		refused := b.carrier.Expect("SIP/2.0 488")
		b.carrier.Transaction("ACK", invite, refused.Header("To"))
		b.did("close media")
		b.wrote("calling", "not_recorded refused not_connected")
	})
}

// An outbound call whose callee sends a new offer during the prompt: the prompt is
// interrupted, so the call goes on and is not recorded.
func TestEffectsOfInterruptedPrompt(t *testing.T) {
	inBubble(t, func(b *bubble) {
		invite := b.pbx.Invite("+31612345678", answeredWith, "")
		b.pbx.Expect("SIP/2.0 100")
		toCarrier := b.carrier.Expect("INVITE sip:+31612345678@203.0.113.3")
		answer := b.carrier.Reply(toCarrier, "200 OK", offered)
		b.carrier.Expect("ACK ")
		b.did("connect caller to 10.0.0.5:6000", "connect callee to 203.0.113.3:4000", "relay callee false", "play 25 frames to callee")
		b.carrier.DialogOffer(toCarrier, answer, 1, strings.Replace(offered, "4000", "4002", 1))
		b.carrier.Expect("SIP/2.0 100")
		b.carrier.DialogAck(toCarrier, b.carrier.Expect("SIP/2.0 491"))
		answered := b.pbx.Expect("SIP/2.0 200")
		b.did("interrupt", "relay caller true", "relay callee true")
		b.pbx.InDialog("ACK", invite, answered, 1)
		b.pbx.InDialog("BYE", invite, answered, 2)
		b.pbx.Expect("SIP/2.0 200")
		b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
		b.did("close media")
		b.wrote("calling", "not_recorded answered announcement_interrupted")
	})
}

// A callee who answers and hangs up during the prompt was told nothing that counts and was
// never connected: abandoned. A caller who gives up then has cancelled.
func TestEffectsOfHangupInPrompt(t *testing.T) {
	for _, who := range []string{"callee", "caller"} {
		inBubble(t, func(b *bubble) {
			invite := b.pbx.Invite("+31612345678", answeredWith, "")
			b.pbx.Expect("SIP/2.0 100")
			toCarrier := b.carrier.Expect("INVITE ")
			answer := b.carrier.Reply(toCarrier, "200 OK", offered)
			b.carrier.Expect("ACK ")
			time.Sleep(200 * time.Millisecond) // of the bubble's
			status, outcome := 480, "abandoned"
			if who == "callee" {
				b.carrier.DialogRequest("BYE", toCarrier, answer, 1)
				b.carrier.Expect("SIP/2.0 200")
				b.pbx.Transaction("ACK", invite, b.pbx.Expect("SIP/2.0 480").Header("To"))
			} else {
				status, outcome = 487, "cancelled"
				b.pbx.Transaction("CANCEL", invite, invite.Header("To"))
				b.pbx.Expect("SIP/2.0 200")
				b.pbx.Transaction("ACK", invite, b.pbx.Expect("SIP/2.0 487").Header("To"))
				b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
			}
			b.wrote("calling", "not_recorded "+outcome+" not_connected")
			b.mu.Lock()
			defer b.mu.Unlock()
			if a := b.last.Announcement; b.last.EndedBy != who || b.last.SIPStatus != status || a.Complete || a.Level != "" {
				t.Errorf("got a row ended by the %s, status %d, announcement %+v, want the %s, %d and no proof", b.last.EndedBy, b.last.SIPStatus, *a, who, status)
			}
		})
	}
}

// While a call is recorded its row says when the recording expires at the earliest: by its
// purpose, not as the rows of calls that are not recorded.
func TestExpiryWhileRecording(t *testing.T) {
	inBubble(t, func(b *bubble) {
		_, toPBX, answer, _ := b.connected()
		synctest.Wait()
		b.mu.Lock()
		if want := time.Now().UTC().AddDate(0, 0, 14); b.last.State != store.StateRecording || !b.last.Expires.Equal(want) {
			t.Errorf("got %s until %v, want it recording until %v", b.last.State, b.last.Expires, want)
		}
		b.mu.Unlock()
		b.end(toPBX, answer, 1)
	})
}

// connected brings an inbound call to where both parties talk and are recorded.
func (b *bubble) connected() (invite, toPBX, answer, answered siptest.Message) {
	b.Helper()
	invite = b.inbound()
	toPBX = b.pbx.Expect("INVITE ")
	answer = b.pbx.Reply(toPBX, "200 OK", answeredWith)
	b.pbx.Expect("ACK ")
	answered = b.carrier.Expect("SIP/2.0 200")
	b.carrier.InDialog("ACK", invite, answered, 1)
	b.did("connect callee to 10.0.0.5:6000", "relay caller true", "relay callee true", "record quality by in, caller's channel 0", "capture true")
	return invite, toPBX, answer, answered
}

// end has the PBX hang up.
func (b *bubble) end(toPBX, answer siptest.Message, seq int) {
	b.Helper()
	b.pbx.DialogRequest("BYE", toPBX, answer, seq)
	b.pbx.Expect("SIP/2.0 200")
	b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
	b.did("capture false", "stop recording", "close media", "close spool", "finalize")
}

// The PBX puts the call on hold: the carrier gets the offer with our address and a new
// version, and its answer goes back; the recording goes on.
func TestEffectsOfHold(t *testing.T) {
	inBubble(t, func(b *bubble) {
		_, toPBX, answer, _ := b.connected()
		b.pbx.DialogOffer(toPBX, answer, 1, answeredWith+"a=sendonly\r\n")
		b.pbx.Expect("SIP/2.0 100")
		toCarrier := b.carrier.Expect("INVITE sip:peer@203.0.113.3:5060")
		if body := toCarrier.Body(); !strings.Contains(body, "a=sendonly\r\n") || !strings.Contains(body, "m=audio 20000 RTP/AVP 8\r\n") || !strings.Contains(body, " 2 IN IP4 192.0.2.1\r\n") {
			t.Errorf("got offer %q, want the hold with our address and version 2", body)
		}
		b.did()
		b.carrier.Reply(toCarrier, "200 OK", strings.Replace(offered, "4000", "4002", 1)+"a=recvonly\r\n")
		b.carrier.Expect("ACK ")
		if held := b.pbx.Expect("SIP/2.0 200"); !strings.Contains(held.Body(), "a=recvonly\r\n") || !strings.Contains(held.Body(), "m=audio 20002 RTP/AVP 8\r\n") {
			t.Errorf("got answer %q", held.Body())
		}
		b.pbx.DialogRequest("ACK", toPBX, answer, 1)
		b.did("connect callee to 10.0.0.5:6000", "connect caller to 203.0.113.3:4002")
		b.end(toPBX, answer, 2)
	})
}

// An offer that the other party refuses is refused with its meaning, and nothing changes.
func TestEffectsOfRefusedOffer(t *testing.T) {
	inBubble(t, func(b *bubble) {
		_, toPBX, answer, _ := b.connected()
		b.pbx.DialogOffer(toPBX, answer, 1, strings.Replace(answeredWith, "6000", "6002", 1))
		b.pbx.Expect("SIP/2.0 100")
		b.carrier.Reply(b.carrier.Expect("INVITE "), "491 Request Pending", "")
		b.carrier.Expect("ACK ")
		b.pbx.DialogAck(toPBX, b.pbx.Expect("SIP/2.0 491"))
		b.did()
		// Without a codec that the recording can hold, nobody is even asked.
		b.pbx.DialogOffer(toPBX, answer, 2, strings.ReplaceAll(strings.ReplaceAll(answeredWith, "AVP 8", "AVP 18"), "8 PCMA", "18 G729"))
		b.pbx.Expect("SIP/2.0 100")
		b.pbx.DialogAck(toPBX, b.pbx.Expect("SIP/2.0 488"))
		b.did()
		b.end(toPBX, answer, 3)
	})
}

// An INVITE without an offer, as a session is refreshed, gets our last description; the
// other party is left in peace.
func TestEffectsOfRefresh(t *testing.T) {
	inBubble(t, func(b *bubble) {
		_, toPBX, answer, _ := b.connected()
		b.pbx.DialogOffer(toPBX, answer, 1, "")
		b.pbx.Expect("SIP/2.0 100")
		if ours := b.pbx.Expect("SIP/2.0 200"); ours.Body() != toPBX.Body() {
			t.Errorf("got %q, want what it was offered before: %q", ours.Body(), toPBX.Body())
		}
		b.pbx.DialogRequest("ACK", toPBX, answer, 1)
		b.did()
		b.end(toPBX, answer, 2)
	})
}

// A caller that does not listen is not told by a prompt: nothing is recorded.
func TestEffectsOfCallerOnHold(t *testing.T) {
	inBubble(t, func(b *bubble) {
		invite := b.carrier.Invite("+31205550100", offered+"a=sendonly\r\n", "")
		b.carrier.Expect("SIP/2.0 100")
		b.carrier.Expect("SIP/2.0 183")
		toPBX := b.pbx.Expect("INVITE ")
		b.did("connect caller to 203.0.113.3:4000")
		b.pbx.Reply(toPBX, "486 Busy Here", "")
		b.pbx.Expect("ACK ")
		busy := b.carrier.Expect("SIP/2.0 486")
		b.carrier.Transaction("ACK", invite, busy.Header("To"))
		b.wrote("calling", "not_recorded busy not_listening")
	})
}

// A gateway that answers the offer in its 183 alone is understood; a trunk that is out
// does not make us seem so.
func TestEffectsOfGateways(t *testing.T) {
	inBubble(t, func(b *bubble) {
		invite := b.inbound()
		toPBX := b.pbx.Expect("INVITE ")
		b.pbx.Reply(toPBX, "183 Session Progress", answeredWith)
		b.carrier.Expect("SIP/2.0 183")
		answer := b.pbx.Reply(toPBX, "200 OK", "")
		b.pbx.Expect("ACK ")
		b.carrier.InDialog("ACK", invite, b.carrier.Expect("SIP/2.0 200"), 1)
		b.did("connect callee to 10.0.0.5:6000", "relay callee true", "relay caller true", "relay caller true", "relay callee true", "record quality by in, caller's channel 0", "capture true")
		b.end(toPBX, answer, 1)
	})
	inBubble(t, func(b *bubble) {
		invite := b.inbound()
		b.pbx.Reply(b.pbx.Expect("INVITE "), "503 Service Unavailable", "")
		b.pbx.Expect("ACK ")
		refused := b.carrier.Expect("SIP/2.0 500")
		if refused.Header("Retry-After") != "" {
			t.Errorf("got Retry-After %q", refused.Header("Retry-After"))
		}
		b.carrier.Transaction("ACK", invite, refused.Header("To"))
	})
}
