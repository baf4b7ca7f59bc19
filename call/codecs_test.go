package call

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bewaard/bewaard/cmd/callsim/sim"
	"github.com/bewaard/bewaard/media/oggopus"
	"github.com/bewaard/bewaard/media/opus"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip/trunk"
	"github.com/bewaard/bewaard/store"
)

// A call in any of the codecs is announced, talks, and is recorded at the rate of its
// audio, whoever calls.
func TestCodecs(t *testing.T) {
	for _, c := range []struct {
		codec string
		hz    int
		from  string
	}{{"PCMU", 8000, "carrier"}, {"G722", 16000, "pbx"}, {"L16", 16000, "carrier"}, {"OPUS", 48000, "pbx"}} {
		t.Run(c.codec, func(t *testing.T) {
			if c.codec == "OPUS" && !opus.Available {
				t.Skip("built without cgo, hence without Opus")
			}
			w := newWorld(t, options{pbx: sim.Config{Codec: c.codec}, carrier: sim.Config{Codec: c.codec}})
			var far, near *sim.Line
			var row store.Row
			if c.from == "carrier" {
				far, near, row = w.talk(bounded(t), w.carrier, w.pbx, "+31201234567", "+31209876543")
			} else {
				near, far, row = w.talk(bounded(t), w.pbx, w.carrier, "+31209876543", "+31201234567")
			}
			if row.State != store.StateKept || row.Announcement == nil || !row.Announcement.Complete || row.Announcement.Codec != c.codec {
				t.Fatalf("got row %s %s, announcement %+v", row.State, row.Reason, row.Announcement)
			}
			if got := sim.Share(far.Heard()[400:3600], promptHz); got < 0.95 {
				t.Errorf("got %.2f of what the far party heard first at the prompt's frequency, want all", got)
			}
			if got := sim.Share(near.Heard(), promptHz); got > 0.01 {
				t.Errorf("got %.2f of what the near party heard at the prompt's frequency, want none", got)
			}
			for channel, samples := range w.narrow(row, c.hz) {
				if got := sim.Share(samples, []float64{farHz, pbxHz}[channel]); got < 0.85 {
					t.Errorf("got %.2f of channel %d at its party's frequency, want nearly all", got, channel)
				}
			}
		})
	}
}

// A call that is Opus on the wire is kept as its packets where that is asked for, and one
// that is not says why it is encoded.
func TestOpusPassthrough(t *testing.T) {
	if !opus.Available {
		t.Skip("built without cgo, hence without Opus")
	}
	for codec, said := range map[string]string{
		"OPUS": `passed=true reason=""`,
		"PCMA": `passed=false reason="not both parties began with Opus"`,
	} {
		t.Run(codec, func(t *testing.T) {
			log := &locked{}
			w := newWorld(t, options{
				pbx: sim.Config{Codec: codec}, carrier: sim.Config{Codec: codec}, log: log,
				keep: RecordingConfig{Formats: []string{"opus"}, OpusPassthrough: true},
			})
			_, _, row := w.talk(bounded(t), w.carrier, w.pbx, "+31201234567", "+31209876543")
			if row.State != store.StateKept || len(row.Files) != 1 {
				t.Fatalf("got row %s %s with files %v, want one", row.State, row.Reason, row.Files)
			}
			w.end() // the line comes behind the row
			if !strings.Contains(log.String(), said) {
				t.Errorf("got no %s in the log", said)
			}
			f, err := w.store.OpenFile(row.Files[0])
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			r, err := oggopus.NewReader(f)
			for err == nil {
				_, _, err = r.Next()
			}
			if got, want := float64(r.Total48k())/48000, row.Recording.ExpectedSeconds; err != io.EOF || got < want-0.01 || got > want+0.01 {
				t.Errorf("got %.3f s, %v, want %.3f", got, err, want)
			}
		})
	}
}

// narrow reads a row's WAV, which is to be at that rate, and returns left and right at
// 8 kHz.
func (w *world) narrow(row store.Row, hz int) (channels [2][]int16) {
	w.Helper()
	r := w.wav(row)
	if r.Hz != hz {
		w.Errorf("got a recording of %d Hz, want %d", r.Hz, hz)
	}
	for b, n := make([]int16, 2), 0; ; n++ {
		if _, err := r.Read(b); err == io.EOF {
			return channels
		} else if err != nil {
			w.Fatal(err)
		}
		if n%(hz/8000) == 0 {
			channels[0], channels[1] = append(channels[0], b[0]), append(channels[1], b[1])
		}
	}
}

// describing writes a description of one stream with these lines of it.
func describing(host string, port int, formats string, lines ...string) string {
	return fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP %s\r\n", host, host, port, formats) + strings.Join(append(lines, ""), "\r\n")
}

// What can be recorded stays in the offer, in its order and with its parameters; what
// cannot is taken out.
func TestOfferKeepsWhatCanBeRecorded(t *testing.T) {
	inBubble(t, func(b *bubble) {
		offer := describing("203.0.113.3", 4000, "18 9 8 97 98 0 101",
			"a=rtpmap:18 G729/8000", "a=fmtp:18 annexb=no", "a=rtpmap:97 L16/16000", "a=rtpmap:98 L16/44100/2", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15")
		b.carrier.Invite("+31205550100", offer, "")
		b.carrier.Expect("SIP/2.0 100")
		wantBody(t, b.carrier.Expect("SIP/2.0 183"), "m=audio 20000 RTP/AVP 9 101")
		b.did("connect caller to 203.0.113.3:4000", "play 25 frames to caller")
		toPBX := b.pbx.Expect("INVITE ")
		wantBody(t, toPBX, "m=audio 20002 RTP/AVP 9 8 97 0 101", "a=rtpmap:97 L16/16000", "a=fmtp:101 0-15")
		if strings.Contains(toPBX.Body(), "G729") || strings.Contains(toPBX.Body(), "44100") || strings.Contains(toPBX.Body(), "fmtp:18") {
			t.Errorf("got an offer of what cannot be recorded: %q", toPBX.Body())
		}
		b.pbx.Reply(toPBX, "486 Busy Here", "")
		b.pbx.Expect("ACK ")
		b.carrier.Expect("SIP/2.0 486")
	})
}

// The parameters of Opus pass both ways.
func TestOpusParametersPass(t *testing.T) {
	if !opus.Available {
		t.Skip("built without cgo, hence without Opus")
	}
	outbound := func(c *policy.Config) { c.Rules = c.Rules[2:] }
	inBubbleOf(t, outbound, nil, func(b *bubble) {
		invite := b.pbx.Invite("+31201234567", describing("10.0.0.5", 6000, "111 8", "a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1;stereo=0"), "")
		b.pbx.Expect("SIP/2.0 100")
		out := b.carrier.Expect("INVITE ")
		wantBody(t, out, "m=audio 20002 RTP/AVP 111 8", "a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1;stereo=0")
		b.carrier.Reply(out, "200 OK", describing("203.0.113.3", 4000, "111", "a=rtpmap:111 opus/48000/2", "a=fmtp:111 useinbandfec=1;maxaveragebitrate=20000"))
		b.carrier.Expect("ACK ")
		ok := b.pbx.Expect("SIP/2.0 200")
		wantBody(t, ok, "m=audio 20000 RTP/AVP 111", "a=fmtp:111 useinbandfec=1;maxaveragebitrate=20000")
		b.hangUp(calling(b.pbx, invite, ok))
	})
}

// Where both trunks pass a codec that cannot be recorded, it is offered behind the
// others; a callee who takes it leaves the call unrecorded, or ends it where the purpose
// says so, and nobody is told anything.
func TestCodecThatTrunksPass(t *testing.T) {
	passes := func(pbx, carrier *trunk.Config) {
		pbx.Codecs, carrier.Codecs = []string{"g729", "AMR"}, []string{"G729"}
	}
	for _, refuse := range []bool{false, true} {
		policies := func(c *policy.Config) {
			c.Rules = c.Rules[2:]
			if refuse {
				p := c.Purposes["quality"]
				p.OnFailure = policy.Refuse
				c.Purposes["quality"] = p
			}
		}
		inBubbleOf(t, policies, passes, func(b *bubble) {
			invite := b.pbx.Invite("+31201234567", describing("10.0.0.5", 6000, "18 96 8 101", "a=rtpmap:96 AMR/8000", "a=rtpmap:101 telephone-event/8000"), "")
			b.pbx.Expect("SIP/2.0 100")
			out := b.carrier.Expect("INVITE ")
			wantBody(t, out, "m=audio 20002 RTP/AVP 8 18 101")
			b.carrier.Reply(out, "200 OK", describing("203.0.113.3", 4000, "18 101", "a=rtpmap:101 telephone-event/8000"))
			b.carrier.Expect("ACK ")
			if refuse {
				b.pbx.Expect("SIP/2.0 488")
				b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
				return
			}
			ok := b.pbx.Expect("SIP/2.0 200")
			wantBody(t, ok, "m=audio 20000 RTP/AVP 18 101")
			caller := calling(b.pbx, invite, ok)
			caller.ack("")
			b.did("connect caller to 10.0.0.5:6000", "connect callee to 203.0.113.3:4000", "relay caller true", "relay callee true")
			b.hangUp(caller)
		})
	}
}

// hangUp has the PBX, which called, take leave.
func (b *bubble) hangUp(caller *dialog) {
	b.Helper()
	caller.ack("") // once more, where it was sent already
	synctest.Wait()
	caller.send("BYE", "", "")
	b.pbx.Expect("SIP/2.0 200")
	b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
}

// A callee who answers with both is held to the one that can be recorded: the caller
// hears of no other.
func TestAnswerWithBoth(t *testing.T) {
	passes := func(pbx, carrier *trunk.Config) { pbx.Codecs, carrier.Codecs = []string{"G729"}, []string{"G729"} }
	inBubbleOf(t, func(c *policy.Config) { c.Rules = c.Rules[2:] }, passes, func(b *bubble) {
		invite := b.pbx.Invite("+31201234567", describing("10.0.0.5", 6000, "18 8"), "")
		b.pbx.Expect("SIP/2.0 100")
		out := b.carrier.Expect("INVITE ")
		b.carrier.Reply(out, "200 OK", describing("203.0.113.3", 4000, "8 18"))
		b.carrier.Expect("ACK ")
		ok := b.pbx.Expect("SIP/2.0 200")
		wantBody(t, ok, "m=audio 20000 RTP/AVP 8")
		b.hangUp(calling(b.pbx, invite, ok))
	})
}

// The tap has room for three seconds of the codec with the most octets.
func TestTapRoom(t *testing.T) {
	c := &Call{parties: [2]*party{{codecs: []rtp.Codec{{Name: "PCMA", ClockHz: 8000}}}, {codecs: []rtp.Codec{{Name: "G722", ClockHz: 8000}, {Name: "OPUS", ClockHz: 48000}}}}}
	if got := c.tapRoom(); got != tapBytes {
		t.Errorf("got %d bytes, want %d", got, tapBytes)
	}
	c.parties[1].codecs = append(c.parties[1].codecs, rtp.Codec{Name: "L16", ClockHz: 48000})
	if got := c.tapRoom(); got < 3*96000 {
		t.Errorf("got %d bytes for L16 at 48 kHz, want three seconds of it at least", got)
	}
}
