package call

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bewaard/bewaard/cmd/callsim/sim"
	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/prompt"
	"github.com/bewaard/bewaard/media/wav"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/trunk"
	"github.com/bewaard/bewaard/store"
)

// Tones by which the tests know who is heard.
const (
	promptHz = 700
	pbxHz    = 440
	farHz    = 1000
)

// promptWAV is a prompt of so many milliseconds: a tone that nobody else has.
func promptWAV(t testing.TB, ms int) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "prompt.wav")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w, err := wav.NewWriter(f, 8000, 1)
	if err != nil {
		t.Fatal(err)
	}
	samples := make([]int16, 8*ms)
	for i := range samples {
		samples[i] = sim.Tone(promptHz)(i)
	}
	if err := w.Write(samples); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func testPrompts(t testing.TB, ms int) Prompts {
	t.Helper()
	p, err := prompt.Load("recorded", bytes.NewReader(promptWAV(t, ms)))
	if err != nil {
		t.Fatal(err)
	}
	return Prompts{"recorded": {"en": {Prompt: p, Text: "This call is recorded."}}}
}

// testPolicy records inbound calls after an early announcement, outbound ones after
// an announcement once they are answered, and none that begin with +3188.
func testPolicy(t testing.TB, change func(*policy.Config)) *policy.Policy {
	t.Helper()
	retention, err := policy.ParsePeriod("P14D")
	if err != nil {
		t.Fatal(err)
	}
	cfg := policy.Config{
		Purposes: map[string]policy.Purpose{"quality": {Text: map[string]string{"en": "Training"}, Basis: policy.Consent, Consent: "by key", Retention: policy.Retention{Audio: retention}}},
		Announcements: map[string]policy.Announcement{"recorded": {
			Text: map[string]string{"en": "This call is recorded."}, Files: map[string]string{"en": "recorded.wav"},
		}},
		Rules: []policy.Rule{
			{Name: "private", Match: policy.Match{To: []string{"+3188*"}}},
			{Name: "in", Match: policy.Match{Direction: policy.Inbound}, Record: &policy.Record{Purpose: "quality"}, Announce: &policy.Announce{Prompt: "recorded", When: policy.Early, OptOut: "9"}},
			{Name: "out", Match: policy.Match{Direction: policy.Outbound}, Record: &policy.Record{Purpose: "quality"}, Announce: &policy.Announce{Prompt: "recorded", When: policy.Answered}},
		},
	}
	if change != nil {
		change(&cfg)
	}
	p, err := policy.Compile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// world is a manager with real sockets, media and store, between two phones.
type world struct {
	*testing.T
	manager *Manager
	keeper  *Keeper
	store   *store.Store
	pbx     *sim.Phone
	carrier *sim.Phone
	raw     *rawPeer // of the carrier's trunk, too
	dir     string
}

type options struct {
	policy   func(*policy.Config)
	pbx      sim.Config
	carrier  sim.Config
	noEarly  bool // the carrier carries no early media
	trunks   func(pbx, carrier *trunk.Config)
	log      io.Writer // besides the test's
	media    media.Config
	recorder Recorder                // in place of the keeper
	rows     func(*store.Store) Rows // in place of the store
	promptMS int
	keep     RecordingConfig // default: WAV
}

func newWorld(t *testing.T, o options) *world {
	t.Helper()
	if o.keep.Formats == nil {
		o.keep.Formats = []string{"wav"}
	}
	w := &world{T: t, dir: t.TempDir()}
	phone := func(cfg sim.Config, hz float64) *sim.Phone {
		cfg.Listen = netip.MustParseAddrPort("127.0.0.1:0")
		if cfg.Voice == nil {
			cfg.Voice = sim.Tone(hz)
		}
		p, err := sim.New(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	w.pbx, w.carrier = phone(o.pbx, pbxHz), phone(o.carrier, farHz)
	out := t.Output()
	if o.log != nil {
		out = io.MultiWriter(out, o.log)
	}
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if w.store, err = store.Open(store.Config{Directory: w.dir}, nil, log); err != nil {
		t.Fatal(err)
	}
	metrics := NewMetrics(nil)
	if w.keeper, err = NewKeeper(o.keep, w.store, metrics, log, nil); err != nil {
		t.Fatal(err)
	}
	engine, err := media.New(o.media, nil)
	if err != nil {
		t.Fatal(err)
	}
	if o.promptMS == 0 {
		o.promptMS = 500
	}
	early := !o.noEarly
	var recorder Recorder = w.keeper
	if o.recorder != nil {
		recorder = o.recorder
	}
	var rows Rows = w.store
	if o.rows != nil {
		rows = o.rows(w.store)
	}
	w.raw = newRawPeer(t)
	pbxTrunk := trunk.Config{Side: trunk.Internal, Peers: []trunk.PeerURI{peerOf(w.pbx.Addr())}}
	carrierTrunk := trunk.Config{Side: trunk.External, Peers: []trunk.PeerURI{peerOf(w.carrier.Addr()), peerOf(w.raw.addr())}, EarlyMedia: &early}
	if o.trunks != nil {
		o.trunks(&pbxTrunk, &carrierTrunk)
	}
	w.manager = New(Config{
		Trunks: map[string]trunk.Config{"pbx": pbxTrunk, "carrier": carrierTrunk},
		SIP:    sip.Config{Listen: []sip.Listen{{Transport: "udp", Addr: netip.MustParseAddrPort("127.0.0.1:0")}}},
	}, Parts{
		Policy: testPolicy(t, o.policy), Prompts: testPrompts(t, o.promptMS), Media: Engine(engine),
		Recorder: recorder, Rows: rows, Metrics: metrics, Log: log,
	})
	if err := w.manager.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	us := w.manager.Addrs()[0].Addr
	w.raw.to = us
	w.pbx.SetPeer(us)
	w.carrier.SetPeer(us)
	t.Cleanup(func() {
		w.pbx.Close()
		w.carrier.Close()
		w.end()
		engine.Close()
		w.store.Close()
	})
	return w
}

// end waits until every call and recording is finished.
func (w *world) end() {
	if w.manager == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.manager.Close(ctx); err != nil {
		w.Errorf("close manager: %v", err)
	}
	if err := w.keeper.Close(); err != nil {
		w.Errorf("close keeper: %v", err)
	}
	w.manager = nil
}

func peerOf(a netip.AddrPort) trunk.PeerURI {
	return trunk.PeerURI{Host: a.Addr().String(), Port: a.Port(), Transport: "udp"}
}

// rawPeer is a peer of the carrier's that offers what the test makes it offer.
type rawPeer struct {
	ua *sip.UA
	to netip.AddrPort
}

func newRawPeer(t *testing.T) *rawPeer {
	p := &rawPeer{}
	p.ua = sip.New(sip.Config{Listen: []sip.Listen{{Transport: "udp", Addr: netip.MustParseAddrPort("127.0.0.1:0")}}}, p, slog.New(slog.DiscardHandler), nil)
	if err := p.ua.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.ua.Close() })
	return p
}

func (p *rawPeer) addr() netip.AddrPort                        { return p.ua.Addrs()[0].Addr }
func (p *rawPeer) Trunk(netip.AddrPort, string) (string, bool) { return "us", true }
func (p *rawPeer) Settings(string) sip.Settings                { return sip.Settings{} }
func (p *rawPeer) Invite(l *sip.Leg)                           { l.Hangup(486, "Busy Here") }
func (p *rawPeer) Ready() bool                                 { return true }

// offer sends an INVITE with that body and returns the first final response's status.
func (p *rawPeer) offer(ctx context.Context, body string) (int, error) {
	leg, err := p.ua.Invite(sip.Invite{
		Peer: sip.Peer{Transport: "udp", Host: p.to.Addr().String(), Addr: p.to}, Trunk: "us",
		Called: "+31205550100", From: sip.Party{User: "+31612345678"}, MaxForwards: 70, Body: []byte(body),
	})
	if err != nil {
		return 0, err
	}
	for {
		select {
		case e := <-leg.Events():
			switch e.Kind {
			case sip.Answered:
				leg.Hangup(0, "")
				return e.Code, nil
			case sip.Rejected:
				return e.Code, nil
			case sip.Failed:
				return 0, e.Err
			}
		case <-ctx.Done():
			leg.Hangup(487, "")
			return 0, ctx.Err()
		}
	}
}

// only returns the only row that there is.
func (w *world) only() store.Row {
	w.Helper()
	rows, _, err := w.store.List(w.Context(), store.Query{})
	if err != nil {
		w.Fatal(err)
	}
	if len(rows) != 1 {
		w.Fatalf("got %d rows, want 1", len(rows))
	}
	return rows[0]
}

// wav opens a row's WAV.
func (w *world) wav(row store.Row) *wav.Reader {
	w.Helper()
	if len(row.Files) != 1 {
		w.Fatalf("got files %v of a row that is %s %s, want one", row.Files, row.State, row.Reason)
	}
	f, err := w.store.OpenFile(row.Files[0])
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { f.Close() })
	r, err := wav.NewReader(f)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// channels reads a row's WAV: left and right.
func (w *world) channels(row store.Row) (left, right []int16) {
	w.Helper()
	r := w.wav(row)
	b := make([]int16, 2*8000)
	for {
		n, err := r.Read(b)
		for i := 0; i+1 < n; i += 2 {
			left, right = append(left, b[i]), append(right, b[i+1])
		}
		if err != nil {
			return left, right
		}
	}
}
