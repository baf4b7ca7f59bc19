package srtp

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var every = []Suite{AES128SHA80, AES128SHA32, AES128GCM, AES256GCM}

// pair is a leg's two ends.
func pair(t testing.TB, k Key) (*Out, *In) {
	t.Helper()
	out, in := &Out{}, &In{}
	rekey(t, k, out, in)
	return out, in
}

func rekey(t testing.TB, k Key, out *Out, in *In) {
	t.Helper()
	if _, err := out.Rekey(k); err != nil {
		t.Fatal(err)
	}
	if err := in.Rekey(k); err != nil {
		t.Fatal(err)
	}
}

// packet is of RTP, with room behind it.
func packet(ssrc uint32, sequence uint16, payload ...byte) []byte {
	b := make([]byte, 12, 2048)
	b[0], b[1] = 2<<6, 8
	binary.BigEndian.PutUint16(b[2:], sequence)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	return append(b, payload...)
}

// report is a receiver report of one block.
func report() []byte {
	b := make([]byte, 32, 2048)
	b[0], b[1], b[3], b[7] = 2<<6|1, 201, 7, 1
	return b
}

// What one end protects the other makes plain, packets and reports, in every suite; and
// what travels between them is neither readable nor of the plain length.
func TestThereAndBack(t *testing.T) {
	for _, s := range every {
		t.Run(s.String(), func(t *testing.T) {
			out, in := pair(t, NewKey(s))
			for i := range 3 {
				plain := packet(7, uint16(65534+i), bytes.Repeat([]byte{'a'}, 160)...)
				want := bytes.Clone(plain)
				sent, err := out.RTP(plain)
				if err != nil {
					t.Fatal(err)
				}
				if len(sent) <= len(want) || bytes.Contains(sent, []byte("aaaa")) {
					t.Fatalf("got %d bytes of a packet of %d, readable or not longer", len(sent), len(want))
				}
				got, err := in.RTP(sent)
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("got %x, %v, want %x", got, err, want)
				}
			}
			sent, err := out.RTCP(report())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := in.RTCP(sent); err != nil || !bytes.Equal(got, report()) {
				t.Errorf("got %x, %v, want the report", got, err)
			}
		})
	}
}

// A packet that comes twice is one that came before; one that was changed is not authentic,
// and neither is one by another key.
func TestReplay(t *testing.T) {
	for _, s := range every {
		t.Run(s.String(), func(t *testing.T) {
			out, in := pair(t, NewKey(s))
			sent, err := out.RTP(packet(7, 1, 1, 2, 3))
			if err != nil {
				t.Fatal(err)
			}
			changed := bytes.Clone(sent)
			changed[13] ^= 1
			if _, err := in.RTP(changed); err != ErrForged {
				t.Errorf("got %v of a packet that was changed, want %v", err, ErrForged)
			}
			again := bytes.Clone(sent)
			if _, err := in.RTP(sent); err != nil {
				t.Error(err)
			}
			if _, err := in.RTP(again); err != ErrReplayed {
				t.Errorf("got %v of a packet that came before, want %v", err, ErrReplayed)
			}
			reported, err := out.RTCP(report())
			if err != nil {
				t.Fatal(err)
			}
			twice := bytes.Clone(reported)
			if _, err := in.RTCP(reported); err != nil {
				t.Error(err)
			}
			if _, err := in.RTCP(twice); err != ErrReplayed {
				t.Errorf("got %v of a report that came before, want %v", err, ErrReplayed)
			}
			stranger, _ := pair(t, NewKey(s))
			sent, _ = stranger.RTP(packet(7, 2))
			if _, err := in.RTP(sent); err != ErrForged {
				t.Errorf("got %v of a packet by another key, want %v", err, ErrForged)
			}
		})
	}
}

// Whatever comes in, nothing but an authentic packet is taken, and nothing breaks.
func TestGarbage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := &In{}
		if err := in.Rekey(NewKey(rapid.SampledFrom(every).Draw(t, "suite"))); err != nil {
			t.Fatal(err)
		}
		b := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "packet")
		if _, err := in.RTP(bytes.Clone(b)); err == nil {
			t.Error("garbage was taken for a packet")
		}
		if _, err := in.RTCP(bytes.Clone(b)); err == nil {
			t.Error("garbage was taken for a report")
		}
	})
}

// Without a key nothing comes in and nothing goes out.
func TestNoKey(t *testing.T) {
	out, in := &Out{}, &In{}
	if _, err := out.RTP(packet(7, 1)); err != ErrNoKey || out.Ready() {
		t.Errorf("got %v of what goes out, want %v", err, ErrNoKey)
	}
	if _, err := in.RTP(packet(7, 1)); err != ErrNoKey {
		t.Errorf("got %v of what comes in, want %v", err, ErrNoKey)
	}
}

// wrap sends a stream on until its numbers have wrapped.
func wrap(t *testing.T, out *Out, in *In, ssrc uint32) {
	t.Helper()
	for _, sequence := range []uint16{20000, 40000, 60000, 5} {
		pass(t, out, in, ssrc, sequence)
	}
}

func pass(t *testing.T, out *Out, in *In, ssrc uint32, sequence uint16) {
	t.Helper()
	sent, err := out.RTP(packet(ssrc, sequence, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.RTP(sent); err != nil {
		t.Fatalf("packet %d of %d: %v", sequence, ssrc, err)
	}
}

// The same key again leaves the count of wraps as it is, at both ends.
func TestSameKey(t *testing.T) {
	for _, s := range every {
		k := NewKey(s)
		out, in := pair(t, k)
		wrap(t, out, in, 7)
		rekey(t, k, out, in)
		pass(t, out, in, 7, 6)
		if wraps, _ := in.now.context.ROC(7); wraps != 1 {
			t.Errorf("%v: got %d wraps after the same key, want 1", s, wraps)
		}
	}
}

// Who comes into a stream late finds out how often it has wrapped, and does not go on trying
// for ever.
func TestLate(t *testing.T) {
	for _, s := range every {
		k := NewKey(s)
		out, in := pair(t, k)
		for range 3 {
			wrap(t, out, in, 7)
		}
		_, late := pair(t, k)
		stranger, _ := pair(t, NewKey(s))
		for range 10 {
			sent, _ := stranger.RTP(packet(8, 1))
			if _, err := late.RTP(sent); err != ErrForged {
				t.Errorf("%v: got %v of a stranger's packet, want %v", s, err, ErrForged)
			}
			stranger.sent = window{}
		}
		for i := range uint16(3) {
			pass(t, out, late, 7, 6+i)
		}
		_, given := pair(t, k)
		for range maxSearches {
			sent, _ := stranger.RTP(packet(8, 1))
			given.RTP(sent)
			stranger.sent = window{}
		}
		sent, _ := out.RTP(packet(7, 20))
		if _, err := given.RTP(sent); err != ErrForged {
			t.Errorf("%v: got %v after too many packets of strangers, want %v", s, err, ErrForged)
		}
	}
}

// A new key is taken whether its stream goes on, with its wraps, or begins anew; what was
// under way by the old one still comes, for a while.
func TestNewKey(t *testing.T) {
	for _, s := range every {
		for _, keeps := range []bool{false, true} {
			t.Run(fmt.Sprint(s, keeps), func(t *testing.T) {
				old, next := NewKey(s), NewKey(AES128GCM)
				peer, in := pair(t, old)
				wrap(t, peer, in, 7)
				late, err := peer.RTP(packet(7, 6))
				if err != nil {
					t.Fatal(err)
				}
				later, err := peer.RTP(packet(7, 7))
				if err != nil {
					t.Fatal(err)
				}
				if err := in.Rekey(next); err != nil {
					t.Fatal(err)
				}
				peer = &Out{}
				if changed, err := peer.Rekey(next); !changed || err != nil {
					t.Fatal(changed, err)
				}
				if keeps {
					peer.to.SetROC(7, 1)
				}
				if _, err := in.RTP(late); err != nil {
					t.Errorf("got %v of a packet that was under way, want it", err)
				}
				for i := range uint16(settled + 10) {
					pass(t, peer, in, 7, 8+i)
				}
				if _, err := in.RTP(later); err == nil {
					t.Error("a packet by the old key came in long after")
				}
			})
		}
	}
}

// Of two packets with one number the second is not sent: it would give both away. Nor is
// one from before the first, which would read as a wrap.
func TestReused(t *testing.T) {
	out, _ := pair(t, NewKey(AES128SHA80))
	for _, step := range []struct {
		sequence uint16
		want     error
	}{
		{10, nil}, {12, nil}, {11, nil}, {11, ErrReused}, {12, ErrReused}, {65535, ErrReused}, {200, nil}, {136, ErrReused}, {137, nil},
		{30000, nil}, {60000, nil}, {20, nil}, {65535, nil}, {65535, ErrReused},
	} {
		if _, err := out.RTP(packet(7, step.sequence)); !errors.Is(err, step.want) {
			t.Errorf("got %v of packet %d, want %v", err, step.sequence, step.want)
		}
	}
	if _, err := out.RTP(packet(8, 200)); err != nil {
		t.Errorf("got %v of the number in another stream, want it sent", err)
	}
}

// No number is ever sent twice, and the other end makes all plain that it gets, in whatever
// order and with whatever loss.
func TestWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, used, at := window{}, map[int64]bool{}, rapid.Int64Range(0, 1<<15).Draw(t, "first")
		for range rapid.IntRange(1, 200).Draw(t, "packets") {
			at = max(at+rapid.Int64Range(-80, 300).Draw(t, "step"), 0)
			if w.take(1, uint16(at)) {
				if used[w.index(uint16(at))] {
					t.Fatalf("%d was used twice", at)
				}
				used[w.index(uint16(at))] = true
			}
		}
	})
}

// index is a number with its wraps.
func (w *window) index(sequence uint16) int64 {
	return w.highest + int64(int16(sequence-uint16(w.highest)))
}

// A key shows nothing of itself, however it is looked at.
func TestKeyIsSilent(t *testing.T) {
	for _, s := range every {
		k := NewKey(s)
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("key", "key", k, "pointer", &k, "within", struct{ Key Key }{k})
		slog.New(slog.NewJSONHandler(&log, nil)).Info("key", "key", k, "pointer", &k, "within", struct{ Key Key }{k})
		text, err := json.Marshal(map[string]any{"key": k, "all": []Key{k}})
		if err != nil {
			t.Fatal(err)
		}
		log.Write(text)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
			fmt.Fprintf(&log, verb+" "+verb+" "+verb+"\n", k, &k, []Key{k})
		}
		material := k.Material()
		for _, shown := range []string{string(material[:4]), fmt.Sprintf("%x", material[:4]), fmt.Sprintf("%X", material[:4]), fmt.Sprintf("%d", material[:4])} {
			if strings.Contains(log.String(), strings.Trim(shown, "[]")) {
				t.Errorf("%v: the key is in %s", s, log.String())
			}
		}
		again, err := ParseKey(s, material)
		if err != nil || again != k {
			t.Errorf("%v: got another key, %v, from what the first is made of", s, err)
		}
		if _, err := ParseKey(s, material[1:]); err == nil {
			t.Errorf("%v: a key that is too short was taken", s)
		}
	}
}

// Neither protecting a packet nor making it plain allocates.
func TestAllocations(t *testing.T) {
	for _, s := range every {
		out, in := pair(t, NewKey(s))
		b := packet(7, 0, make([]byte, 160)...)
		sequence := uint16(0)
		once := func() {
			sequence++
			binary.BigEndian.PutUint16(b[2:], sequence)
			sent, err := out.RTP(b)
			if err != nil {
				t.Fatal(err)
			}
			if b, err = in.RTP(sent); err != nil {
				t.Fatal(err)
			}
		}
		once()
		if n := testing.AllocsPerRun(1000, once); n > 0 && !raced {
			t.Errorf("%v: got %v allocations a packet, want none", s, n)
		}
	}
}

func BenchmarkRTP(b *testing.B) {
	for _, s := range every {
		out, in := pair(b, NewKey(s))
		plain := packet(7, 0, make([]byte, 160)...)
		sequence := uint16(0)
		b.Run(s.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sequence++
				binary.BigEndian.PutUint16(plain[2:], sequence)
				sent, err := out.RTP(plain)
				if err != nil {
					b.Fatal(err)
				}
				if plain, err = in.RTP(sent); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// ends runs a handshake between two, over a way that loses datagrams.
func ends(t *testing.T, lose func() bool, client, server Peer, ours, theirs *Identity) (keys [4]Key, failed error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var a, b *Handshake
	var err error
	var ready sync.WaitGroup
	ready.Add(1)
	if a, err = ours.Begin(client, func(datagram []byte) error {
		ready.Wait()
		if !lose() {
			b.Take(datagram)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if b, err = theirs.Begin(server, func(datagram []byte) error {
		ready.Wait()
		if !lose() {
			a.Take(datagram)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	ready.Done()
	t.Cleanup(a.Close)
	t.Cleanup(b.Close)
	var both sync.WaitGroup
	var failures [2]error
	both.Go(func() {
		if keys[0], keys[1], failures[0] = a.Run(ctx); failures[0] != nil {
			cancel()
		}
	})
	both.Go(func() {
		if keys[2], keys[3], failures[1] = b.Run(ctx); failures[1] != nil {
			cancel()
		}
	})
	both.Wait()
	return keys, errors.Join(failures[:]...)
}

func identities(t *testing.T) (a, b *Identity) {
	t.Helper()
	var err error
	if a, err = NewIdentity(); err != nil {
		t.Fatal(err)
	}
	if b, err = NewIdentity(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// A handshake gives both ends the same keys, the one's for the other's, also over a way
// that loses datagrams.
func TestHandshake(t *testing.T) {
	for name, lose := range map[string]func() bool{
		"quiet": func() bool { return false },
		"lossy": func() func() bool {
			var mu sync.Mutex
			random := rand.New(rand.NewPCG(1, 2))
			return func() bool { mu.Lock(); defer mu.Unlock(); return random.Float64() < 0.15 }
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := identities(t)
			keys, err := ends(t, lose, Peer{[]Fingerprint{theirs.Fingerprint()}, true}, Peer{[]Fingerprint{ours.Fingerprint()}, false}, ours, theirs)
			if err != nil {
				t.Fatal(err)
			}
			if keys[0] != keys[3] || keys[1] != keys[2] || keys[0] == keys[1] || keys[0].Suite() != AES256GCM {
				t.Errorf("got keys %v that do not fit each other", keys)
			}
		})
	}
}

// Who has another certificate than the session description told of gets no keys, whichever
// end he is; nor is one that is told by a broken hash believed.
func TestStranger(t *testing.T) {
	ours, theirs := identities(t)
	other, _ := identities(t)
	never := func() bool { return false }
	for name, peers := range map[string][2]Peer{
		"server": {{[]Fingerprint{other.Fingerprint()}, true}, {[]Fingerprint{ours.Fingerprint()}, false}},
		"client": {{[]Fingerprint{theirs.Fingerprint()}, true}, {[]Fingerprint{other.Fingerprint()}, false}},
		"sha-1":  {{[]Fingerprint{{"sha-1", strings.Repeat("x", 20)}}, true}, {[]Fingerprint{ours.Fingerprint()}, false}},
		"nobody": {{nil, true}, {[]Fingerprint{ours.Fingerprint()}, false}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ends(t, never, peers[0], peers[1], ours, theirs)
			if err == nil {
				t.Error("got keys with a stranger, want none")
			}
		})
	}
}

// A handshake that nobody answers ends with its context, and one that is closed at once.
func TestNobodyAnswers(t *testing.T) {
	ours, _ := identities(t)
	for _, client := range []bool{true, false} {
		h, err := ours.Begin(Peer{Client: client}, func([]byte) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if _, _, err := h.Run(ctx); err == nil {
			t.Error("got keys from nobody")
		}
		cancel()
		h.Close()
		if h, err = ours.Begin(Peer{Client: client}, func([]byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
		var ran sync.WaitGroup
		ran.Go(func() {
			if _, _, err := h.Run(t.Context()); err == nil {
				t.Error("got keys from nobody")
			}
		})
		h.Close()
		ran.Wait()
	}
}
