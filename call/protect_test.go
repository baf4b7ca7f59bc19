package call

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/bewaard/bewaard/cmd/callsim/sim"
	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/srtp"
	"github.com/bewaard/bewaard/sip/sdp"
	"github.com/bewaard/bewaard/sip/siptest"
	"github.com/bewaard/bewaard/sip/trunk"
	"github.com/bewaard/bewaard/store"
)

// protection says how a leg is protected, its keys by the names that they have in a test.
func (j *journal) protection(s *media.Secure) string {
	switch {
	case s == nil:
		return ""
	case s.DTLS != nil:
		return fmt.Sprintf(" dtls client=%v", s.DTLS.Client)
	case s.In.IsZero():
		return " pending"
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return fmt.Sprintf(" in=%s out=%s", j.nameOf(s.In), j.nameOf(s.Out))
}

// nameOf names keys in the order in which they come: k1, k2 …
func (j *journal) nameOf(k srtp.Key) string {
	i := slices.Index(j.keys, k)
	if i < 0 {
		i = len(j.keys)
		j.keys = append(j.keys, k)
	}
	return fmt.Sprintf("k%d", i+1)
}

// locked is a buffer that several write to.
type locked struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(b)
}

// Whatever protects the one leg or the other, both parties hear each other and the prompt,
// and are recorded each on its channel. No key is written anywhere.
func TestProtectedCall(t *testing.T) {
	key := func(s srtp.Suite) sim.SRTP { return sim.SRTP{Key: srtp.NewKey(s)} }
	plain, dtls := sim.SRTP{}, sim.SRTP{DTLS: true}
	optional := key(srtp.AES128SHA80)
	optional.Optional = true
	for name, test := range map[string]struct {
		carrier, pbx         sim.SRTP
		carrierSays, pbxSays string
		handshakes           string // whose trunk's keys are agreed so
		outbound             bool
	}{
		"carrier by AES-CM":         {key(srtp.AES128SHA80), plain, trunk.Required, trunk.Off, "", false},
		"carrier by a short tag":    {key(srtp.AES128SHA32), plain, trunk.Required, trunk.Off, "", false},
		"both, by different suites": {key(srtp.AES256GCM), key(srtp.AES128SHA80), trunk.Required, trunk.Required, "", false},
		"PBX by GCM":                {plain, key(srtp.AES128GCM), "", trunk.Required, "", false},
		"PBX by choice":             {plain, key(srtp.AES128GCM), "", trunk.Optional, "", false},
		"PBX could, and does not":   {plain, plain, "", trunk.Optional, "", false},
		"carrier by choice":         {optional, plain, trunk.Optional, "", "", false},
		"carrier by SAVP, optional": {key(srtp.AES128SHA80), plain, trunk.Optional, "", "", false},
		"outbound, both":            {key(srtp.AES128SHA80), key(srtp.AES256GCM), trunk.Required, trunk.Required, "", true},
		"carrier by DTLS":           {dtls, plain, trunk.Required, "", "carrier", false},
		"PBX by DTLS":               {plain, dtls, "", trunk.Required, "pbx", false},
		"both by DTLS, outbound":    {dtls, dtls, trunk.Required, trunk.Optional, "pbx carrier", true},
		"DTLS and keys":             {dtls, key(srtp.AES128SHA80), trunk.Required, trunk.Required, "carrier", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &locked{}
			w := newWorld(t, options{
				carrier: sim.Config{SRTP: test.carrier}, pbx: sim.Config{SRTP: test.pbx}, log: log,
				trunks: func(pbx, carrier *trunk.Config) {
					carrier.SRTP, pbx.SRTP = test.carrierSays, test.pbxSays
					if strings.Contains(test.handshakes, "carrier") {
						carrier.SRTPKeys = trunk.DTLS
					}
					if strings.Contains(test.handshakes, "pbx") {
						pbx.SRTPKeys = trunk.DTLS
					}
				},
			})
			from, to, nearHz := w.carrier, w.pbx, pbxHz
			if test.outbound {
				from, to, nearHz = w.pbx, w.carrier, farHz
			}
			near, far, row := w.talk(bounded(t), from, to, "+31201234567", "+31209876543")
			told := near
			if test.outbound {
				told = far
			}
			if row.State != store.StateKept || row.Announcement == nil || !row.Announcement.Complete {
				t.Fatalf("got row %s %s, announcement %+v", row.State, row.Reason, row.Announcement)
			}
			if heard := told.Heard(); len(heard) < 4000 || sim.Share(heard[:4000], promptHz) < 0.95 {
				t.Errorf("got %d samples, the first of which are not the prompt", len(heard))
			}
			if heard := near.Heard(); sim.Share(heard[len(heard)-4000:], float64(nearHz)) < 0.95 {
				t.Error("the caller did not hear the callee")
			}
			left, right := w.channels(row)
			if l, r := sim.Share(left, farHz), sim.Share(right, pbxHz); l < 0.85 || r < 0.85 {
				t.Errorf("got %.2f and %.2f of left and right at their parties' frequencies, want nearly all", l, r)
			}
			for _, audio := range row.Audio {
				side := map[string]sim.SRTP{"caller": test.carrier, "callee": test.pbx}
				if test.outbound {
					side["caller"], side["callee"] = test.pbx, test.carrier
				}
				want := ""
				switch of := side[audio.Leg]; {
				case of.DTLS:
					want = "dtls AEAD_AES_256_GCM"
				case !of.Key.IsZero():
					want = "sdes " + of.Key.Suite().String()
				}
				if audio.Protection != want || want != "" && audio.Unprotected != 0 {
					t.Errorf("got the %s protected by %q, but for %d packets, want %q", audio.Leg, audio.Protection, audio.Unprotected, want)
				}
			}
			for _, k := range []srtp.Key{test.carrier.Key, test.pbx.Key, near.Key(), far.Key()} {
				if !k.IsZero() {
					unseen(t, k.Material(), log.Bytes(), w.dir)
				}
			}
			if at := bytes.Index(log.Bytes(), []byte("inline:")); at >= 0 {
				t.Errorf("a line with a key was logged: %.60q", log.Bytes()[at:])
			}
		})
	}
}

// While a call goes on, no key is in its spool or in any other file, ours as little as the
// parties'.
func TestKeysAreNotSpooled(t *testing.T) {
	log := &locked{}
	carrier, pbx := srtp.NewKey(srtp.AES128SHA80), srtp.NewKey(srtp.AES256GCM)
	w := newWorld(t, options{
		carrier: sim.Config{SRTP: sim.SRTP{Key: carrier}}, pbx: sim.Config{SRTP: sim.SRTP{Key: pbx}}, log: log, trunks: bothRequire,
	})
	near, err := w.carrier.Call(bounded(t), "+31201234567", "+31209876543")
	if err != nil {
		t.Fatal(err)
	}
	far := <-w.pbx.Lines()
	if err := far.Wait(bounded(t), far.Packets()+75); err != nil { // the spool is written twice a second
		t.Fatal(err)
	}
	for _, k := range []srtp.Key{near.Key(), far.Key(), carrier, pbx} {
		unseen(t, k.Material(), log.Bytes(), w.dir)
	}
	spools := 0
	filepath.WalkDir(filepath.Join(w.dir, "spool"), func(name string, d fs.DirEntry, err error) error {
		if info, err := d.Info(); err == nil && !d.IsDir() && info.Size() > 10000 {
			spools++
		}
		return err
	})
	if spools != 1 {
		t.Errorf("got %d spools with packets, want one", spools)
	}
	near.Hangup()
	<-far.Over()
}

// unseen fails the test where a key is in the log or in a file, in whatever form.
func unseen(t *testing.T, key, log []byte, directory string) {
	t.Helper()
	forms := [][]byte{key[:12], []byte(hex.EncodeToString(key[:12])), []byte(base64.StdEncoding.EncodeToString(key[:12]))}
	look := func(where string, text []byte) {
		for _, form := range forms {
			if bytes.Contains(text, form) {
				t.Errorf("a key is in %s", where)
			}
		}
	}
	look("the log", log)
	err := filepath.WalkDir(directory, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		look(name, text)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A phone that does not protect what it says, or not as the trunk has it, is refused with
// what is wrong, and the row says so.
func TestNotProtected(t *testing.T) {
	const crypto = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n"
	const fingerprint = "a=fingerprint:sha-256 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF\r\na=setup:actpass\r\n"
	const avp, savp, tls = "m=audio 4000 RTP/AVP 8\r\n", "m=audio 4000 RTP/SAVP 8\r\n", "m=audio 4000 UDP/TLS/RTP/SAVP 8\r\n"
	for name, test := range map[string]struct {
		srtp, keys, offer string
		want              error
	}{
		"protected, and off":             {trunk.Off, "", savp + crypto, errSRTPOff},
		"a handshake, and off":           {"", "", tls + fingerprint, errSRTPOff},
		"plain, and required":            {trunk.Required, "", avp, errSRTPRequired},
		"plain, and DTLS required":       {trunk.Required, trunk.DTLS, avp, errSRTPRequired},
		"no key":                         {trunk.Optional, "", savp, errSRTPKeys},
		"an MKI":                         {trunk.Optional, "", savp + strings.Replace(crypto, "\r\n", "|2^20|1:4\r\n", 1), errSRTPKeys},
		"not encrypted":                  {trunk.Required, "", savp + strings.Replace(crypto, "\r\n", " UNENCRYPTED_SRTP\r\n", 1), errSRTPKeys},
		"a suite that there is not":      {trunk.Required, "", savp + strings.Replace(crypto, "AES_CM", "F8", 1), errSRTPKeys},
		"a key of another length":        {trunk.Required, "", savp + strings.Replace(crypto, "WVNf", "", 1), errSRTPKeys},
		"a handshake instead of keys":    {trunk.Required, trunk.SDES, tls + fingerprint, errSRTPKeys},
		"keys instead of a handshake":    {trunk.Required, trunk.DTLS, savp + crypto, errSRTPKeys},
		"a broken hash":                  {trunk.Required, trunk.DTLS, tls + "a=fingerprint:sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB\r\na=setup:actpass\r\n", errSRTPKeys},
		"nobody begins":                  {trunk.Required, trunk.DTLS, tls + strings.Replace(fingerprint, "actpass", "holdconn", 1), errSRTPKeys},
		"keys in RTP/AVP, of no use":     {trunk.Required, "", avp + strings.Replace(crypto, "AES_CM", "F8", 1), errSRTPRequired},
		"a handshake in RTP/AVP and off": {trunk.Required, trunk.SDES, avp + fingerprint, errSRTPRequired},
	} {
		t.Run(name, func(t *testing.T) {
			inBubbleOf(t, nil, func(_, carrier *trunk.Config) { carrier.SRTP, carrier.SRTPKeys = test.srtp, test.keys }, func(b *bubble) {
				invite := b.carrier.Invite("+31205550100", offerHead+test.offer, "")
				b.carrier.Expect("SIP/2.0 100")
				refused := b.carrier.Expect("SIP/2.0 488")
				if got, want := refused.Header("Warning"), fmt.Sprintf("399 bewaard %q", test.want.Error()); got != want {
					t.Errorf("got Warning %q, want %q", got, want)
				}
				b.carrier.Transaction("ACK", invite, refused.Header("To"))
				b.pbx.Silent(0)
				b.wrote("calling", "not_recorded refused not_connected")
			})
		})
	}
}

// protected is a description by another profile and with more lines.
func protected(plain, proto string, lines ...string) string {
	return strings.Replace(plain, "RTP/AVP", proto, 1) + strings.Join(append(lines, ""), "\r\n")
}

// crypto makes an a=crypto line of a new key, which the test knows by a name from then on.
func (b *bubble) crypto(tag int, suite srtp.Suite) string {
	k := srtp.NewKey(suite)
	b.mu.Lock()
	b.nameOf(k)
	b.mu.Unlock()
	return line(cryptoOf(tag, k))
}

func line(c sdp.Crypto) string {
	m := &sdp.Media{}
	m.SetCryptos([]sdp.Crypto{c})
	_, lines, _ := strings.Cut(string((&sdp.Description{Media: []*sdp.Media{m}}).Bytes()), "\r\n")
	return strings.TrimSpace(lines)
}

// keys names the keys in a description that we sent: tag, suite's first letters, name.
func (b *bubble) keysIn(m siptest.Message) string {
	b.Helper()
	d, err := sdp.Parse([]byte(m.Body()))
	if err != nil {
		b.Fatal(err)
	}
	var names []string
	for _, c := range d.Media[0].Cryptos() {
		k, err := keyOf(c)
		if err != nil {
			b.Fatal(err)
		}
		b.mu.Lock()
		names = append(names, fmt.Sprintf("%d %v %s", c.Tag, c.Suite, b.nameOf(k)))
		b.mu.Unlock()
	}
	return d.Media[0].Proto + " " + strings.Join(names, ", ")
}

func (b *bubble) wantKeys(m siptest.Message, want string) {
	b.Helper()
	if got := b.keysIn(m); got != want {
		b.Errorf("got %q in %s, want %q", got, m.Start(), want)
	}
}

func bothRequire(pbx, carrier *trunk.Config) { pbx.SRTP, carrier.SRTP = trunk.Required, trunk.Required }

const carrierAudio, pbxAudio = "203.0.113.3:4000", "10.0.0.5:6000"

// Both legs are protected, each by keys of its own, from the INVITE over a hold to a new key
// in the middle of the call, which has us take a new one as well: whoever has it may be
// another device.
func TestKeys(t *testing.T) {
	plainly(t, bothRequire, func(b *bubble) {
		theirs := b.crypto(7, srtp.AES128SHA80) // k1
		offer := protected(offered, "RTP/SAVP", "a=crypto:6 F8_128_HMAC_SHA1_80 inline:AAAA", theirs)
		invite := b.carrier.Invite("+31205550100", offer, "")
		b.carrier.Expect("SIP/2.0 100")
		toPBX := b.pbx.Expect("INVITE ")
		b.wantKeys(toPBX, "RTP/SAVP 1 AEAD_AES_256_GCM k2, 2 AEAD_AES_128_GCM k3, 3 AES_CM_128_HMAC_SHA1_80 k4")
		pbxLine := b.crypto(3, srtp.AES128SHA80) // k5
		answer := b.pbx.Reply(toPBX, "200 OK", protected(answeredWith, "RTP/SAVP", pbxLine))
		b.pbx.Expect("ACK ")
		ok := b.carrier.Expect("SIP/2.0 200")
		b.wantKeys(ok, "RTP/SAVP 7 AES_CM_128_HMAC_SHA1_80 k6")
		b.did("connect caller to "+carrierAudio+" pending", "connect callee to "+pbxAudio+" in=k5 out=k4", "connect caller to "+carrierAudio+" in=k1 out=k6",
			"relay caller true", "relay callee true")
		caller, pbx := calling(b.carrier, invite, ok), called(b.pbx, toPBX, answer)
		caller.ack("")
		synctest.Wait()

		for _, direction := range []string{"a=sendonly", "a=sendrecv"} {
			pbx.offer(protected(answeredWith, "RTP/SAVP", pbxLine, direction))
			b.pbx.Expect("SIP/2.0 100")
			held := b.carrier.Expect("INVITE ")
			b.wantKeys(held, "RTP/SAVP 1 AES_CM_128_HMAC_SHA1_80 k6, 2 AEAD_AES_256_GCM k7, 3 AEAD_AES_128_GCM k8")
			b.carrier.Reply(held, "200 OK", protected(offered, "RTP/SAVP", strings.Replace(theirs, "crypto:7", "crypto:1", 1)))
			b.carrier.Expect("ACK ")
			b.wantKeys(b.pbx.Expect("SIP/2.0 200"), "RTP/SAVP 3 AES_CM_128_HMAC_SHA1_80 k4")
			pbx.ack("")
			b.did("connect callee to "+pbxAudio+" in=k5 out=k4", "connect caller to "+carrierAudio+" in=k1 out=k6", "connect callee to "+pbxAudio+" in=k5 out=k4")
		}

		newLine := b.crypto(1, srtp.AES128GCM) // k9
		pbx.send("UPDATE", "", protected(answeredWith, "RTP/SAVP", newLine))
		again := b.carrier.Expect("")
		b.wantKeys(again, "RTP/SAVP 1 AES_CM_128_HMAC_SHA1_80 k6, 2 AEAD_AES_256_GCM k7, 3 AEAD_AES_128_GCM k8")
		b.carrier.Reply(again, "200 OK", protected(offered, "RTP/SAVP", strings.Replace(theirs, "crypto:7", "crypto:1", 1)))
		if again.Method() == "INVITE" {
			b.carrier.Expect("ACK ")
		}
		b.wantKeys(b.pbx.Expect("SIP/2.0 200"), "RTP/SAVP 1 AEAD_AES_128_GCM k10")
		b.did("connect callee to "+pbxAudio+" in=k5 out=k4", "connect caller to "+carrierAudio+" in=k1 out=k6", "connect callee to "+pbxAudio+" in=k9 out=k10")

		// The carrier answers plain: of no use, and the call goes on as it was.
		pbx.offer(protected(answeredWith, "RTP/SAVP", newLine, "a=sendonly"))
		b.pbx.Expect("SIP/2.0 100")
		b.carrier.Reply(b.carrier.Expect("INVITE "), "200 OK", offered)
		b.carrier.Expect("ACK ")
		useless := b.pbx.Expect("SIP/2.0 488")
		b.pbx.Acknowledge(b.pbx.Compose(pbx.Dialog, "INVITE", pbx.seq, "", ""), useless)
		b.did()

		// Plain all of a sudden: refused, and the call goes on as it was.
		pbx.offer(answeredWith)
		b.pbx.Expect("SIP/2.0 100")
		refused := b.pbx.Expect("SIP/2.0 488")
		wantHeader(t, refused, "Warning", `399 bewaard "SRTP is required"`)
		b.pbx.Acknowledge(b.pbx.Compose(pbx.Dialog, "INVITE", pbx.seq, "", ""), refused)
		b.did()
		b.over(pbx)
	})
}

// A caller without an offer is offered keys, and his ACK takes one.
func TestKeysOfDelayedOffer(t *testing.T) {
	plainly(t, bothRequire, func(b *bubble) {
		invite := b.carrier.Invite("+31205550100", "", "")
		b.carrier.Expect("SIP/2.0 100")
		toPBX := b.pbx.Expect("INVITE ")
		b.wantKeys(toPBX, "RTP/SAVP 1 AEAD_AES_256_GCM k1, 2 AEAD_AES_128_GCM k2, 3 AES_CM_128_HMAC_SHA1_80 k3")
		answer := b.pbx.Reply(toPBX, "200 OK", protected(answeredWith, "RTP/SAVP", b.crypto(2, srtp.AES128GCM)))
		b.pbx.Expect("ACK ")
		ok := b.carrier.Expect("SIP/2.0 200")
		b.wantKeys(ok, "RTP/SAVP 1 AEAD_AES_256_GCM k5, 2 AEAD_AES_128_GCM k6, 3 AES_CM_128_HMAC_SHA1_80 k7")
		calling(b.carrier, invite, ok).ack(protected(offered, "RTP/SAVP", b.crypto(1, srtp.AES256GCM)))
		b.did("connect callee to "+pbxAudio+" in=k4 out=k2", "relay caller true", "relay callee true", "connect caller to "+carrierAudio+" in=k8 out=k5")
		b.over(called(b.pbx, toPBX, answer))
	})
}

// Branches of a fork have a key each; ours is one. Early media is protected, too.
func TestKeysOfFork(t *testing.T) {
	plainly(t, func(pbx, _ *trunk.Config) { pbx.SRTP = trunk.Required }, func(b *bubble) {
		b.carrier.Invite("+31205550100", offered, "")
		b.carrier.Expect("SIP/2.0 100")
		toPBX := b.pbx.Expect("INVITE ")
		b.keysIn(toPBX) // k1 to k3
		one, two := protected(answeredWith, "RTP/SAVP", b.crypto(3, srtp.AES128SHA80)), protected(answeredWith, "RTP/SAVP", b.crypto(1, srtp.AES256GCM))
		reply(b.pbx, toPBX, "one", "183 Session Progress", "", one)
		if early := b.carrier.Expect("SIP/2.0 183"); strings.Contains(early.Body(), "SAVP") || strings.Contains(early.Body(), "crypto") {
			t.Errorf("got %q, want nothing of keys", early.Body())
		}
		reply(b.pbx, toPBX, "two", "183 Session Progress", "", two)
		b.carrier.Expect("SIP/2.0 183")
		b.did("connect caller to "+carrierAudio, "connect callee to "+pbxAudio+" in=k4 out=k3", "relay callee true", "relay caller true",
			"connect callee to "+pbxAudio+" in=k5 out=k1", "relay callee true", "relay caller true")
		answer := reply(b.pbx, toPBX, "one", "200 OK", "", "")
		b.pbx.Expect("ACK ")
		b.carrier.Expect("SIP/2.0 200")
		b.did("connect callee to "+pbxAudio+" in=k4 out=k3", "relay caller true", "relay callee true")
		_ = answer
	})
}

// Who is called for a transfer gets keys of his own, and so does the next peer, and the next
// number that a call is redirected to.
func TestKeysOfOthers(t *testing.T) {
	plainly(t, func(pbx, _ *trunk.Config) { pbx.Refer, pbx.SRTP = trunk.Terminate, trunk.Required }, func(b *bubble) {
		b.carrier.Invite("+31205550100", offered, "")
		b.carrier.Expect("SIP/2.0 100")
		first := b.pbx.Expect("INVITE ")
		b.wantKeys(first, "RTP/SAVP 1 AEAD_AES_256_GCM k1, 2 AEAD_AES_128_GCM k2, 3 AES_CM_128_HMAC_SHA1_80 k3")
		b.pbx.ReplyWith(first, "302 Moved", "Contact: <sip:201@10.0.0.5>\r\n")
		b.pbx.Expect("ACK ")
		second := b.pbx.Expect("INVITE sip:201@")
		b.wantKeys(second, "RTP/SAVP 1 AEAD_AES_256_GCM k4, 2 AEAD_AES_128_GCM k5, 3 AES_CM_128_HMAC_SHA1_80 k6")
		answered := reply(b.pbx, second, "pbx", "200 OK", "Allow: INVITE, ACK, BYE, REFER, NOTIFY\r\n", protected(answeredWith, "RTP/SAVP", b.crypto(1, srtp.AES256GCM)))
		b.pbx.Expect("ACK ")
		b.carrier.Expect("SIP/2.0 200")
		synctest.Wait()
		b.effects = nil
		pbx := called(b.pbx, second, answered)
		pbx.send("REFER", "Refer-To: <sip:200@10.0.0.5>\r\nRefer-Sub: false\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		third := b.pbx.Expect("INVITE sip:200@")
		b.wantKeys(third, "RTP/SAVP 1 AEAD_AES_256_GCM k8, 2 AEAD_AES_128_GCM k9, 3 AES_CM_128_HMAC_SHA1_80 k10")
		reply(b.pbx, third, "third", "200 OK", "", protected(strings.Replace(answeredWith, "6000", "6004", 1), "RTP/SAVP", b.crypto(3, srtp.AES128SHA80)))
		b.pbx.Expect("ACK ")
		b.pbx.Reply(b.pbx.Expect("BYE "), "200 OK", "")
		b.did("connect callee to 10.0.0.5:6004 in=k11 out=k10")
	})
}

// Who is called for a transfer, and cannot protect what he says, does not take the place.
func TestTransferNotProtected(t *testing.T) {
	plainly(t, func(pbx, _ *trunk.Config) { pbx.Refer, pbx.SRTP = trunk.Terminate, trunk.Required }, func(b *bubble) {
		_, pbx := b.talking(offered, protected(answeredWith, "RTP/SAVP", b.crypto(1, srtp.AES256GCM)))
		pbx.send("REFER", "Refer-To: <sip:200@10.0.0.5>\r\nRefer-Sub: false\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		reply(b.pbx, b.pbx.Expect("INVITE sip:200@"), "third", "200 OK", "", answeredWith)
		b.pbx.Expect("ACK ")
		b.pbx.Reply(b.pbx.Expect("BYE "), "200 OK", "")
		b.did()
		b.over(pbx)
	})
}

// A party that comes over from another call keeps the keys that it has; its association,
// where it had one, it does not.
func TestKeysOfAttendedTransfer(t *testing.T) {
	plainly(t, func(pbx, carrier *trunk.Config) { pbx.Refer, carrier.SRTP = trunk.Terminate, trunk.Required }, func(b *bubble) {
		_, toPBX := b.talking(protected(offered, "RTP/SAVP", b.crypto(1, srtp.AES128SHA80)), answeredWith)
		invite := b.pbx.Invite("+31301234567", strings.Replace(answeredWith, "6000", "6100", 1), "")
		b.pbx.Expect("SIP/2.0 100")
		out := b.carrier.Expect("INVITE ")
		b.keysIn(out)
		other := b.crypto(3, srtp.AES128SHA80)
		answer := protected(strings.Replace(offered, "4000", "4100", 1), "RTP/SAVP", other)
		reply(b.carrier, out, "second", "200 OK", "", answer)
		b.carrier.Expect("ACK ")
		consultation := calling(b.pbx, invite, b.pbx.Expect("SIP/2.0 200"))
		consultation.ack("")
		synctest.Wait()
		held := b.effects[len(b.effects)-3] // before both legs are relayed
		b.effects = nil
		replaces := url.QueryEscape(consultation.CallID + ";to-tag=" + tagOf(consultation.Remote) + ";from-tag=" + tagOf(consultation.Local))
		toPBX.send("REFER", "Refer-To: <sip:+31301234567@192.0.2.1?Replaces="+replaces+">\r\n", "")
		collect(b.pbx, 5) // 202, two NOTIFYs, two BYEs
		again := b.carrier.Expect("INVITE ")
		synctest.Wait()
		keys := func(effect string) string { _, keys, _ := strings.Cut(effect, " in="); return keys }
		i := slices.IndexFunc(b.effects, func(e string) bool { return strings.HasPrefix(e, "connect") })
		if i < 0 || keys(held) == "" || keys(b.effects[i]) != keys(held) {
			t.Errorf("got %q, want the keys of %q in it", b.effects, held)
		}
		b.carrier.Reply(again, "200 OK", answer)
		b.carrier.Expect("ACK ")
	})
}

// Keys that are optional are offered in RTP/AVP, and not missed by who has none; who has is
// protected, also if he says so by RTP/SAVP.
func TestOptionalKeys(t *testing.T) {
	for name, test := range map[string]struct {
		proto string
		keys  bool
		want  string
	}{
		"plain":        {"RTP/AVP", false, ""},
		"keys":         {"RTP/AVP", true, " in=k4 out=k1"},
		"keys by SAVP": {"RTP/SAVP", true, " in=k4 out=k1"},
	} {
		t.Run(name, func(t *testing.T) {
			plainly(t, func(pbx, _ *trunk.Config) { pbx.SRTP = trunk.Optional }, func(b *bubble) {
				b.carrier.Invite("+31205550100", offered, "")
				b.carrier.Expect("SIP/2.0 100")
				toPBX := b.pbx.Expect("INVITE ")
				b.wantKeys(toPBX, "RTP/AVP 1 AEAD_AES_256_GCM k1, 2 AEAD_AES_128_GCM k2, 3 AES_CM_128_HMAC_SHA1_80 k3")
				answer := protected(answeredWith, test.proto)
				if test.keys {
					answer += b.crypto(1, srtp.AES256GCM) + "\r\n"
				}
				b.pbx.Reply(toPBX, "200 OK", answer)
				b.pbx.Expect("ACK ")
				b.carrier.Expect("SIP/2.0 200")
				b.did("connect caller to "+carrierAudio, "connect callee to "+pbxAudio+test.want, "relay caller true", "relay callee true")
			})
		})
	}
}

// An answer that is not protected as it has to be ends the call before it begins.
func TestAnswerNotProtected(t *testing.T) {
	const bad = "a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
	for name, test := range map[string]struct{ srtp, answer, warning string }{
		"plain":             {trunk.Required, answeredWith, "SRTP is required"},
		"no key":            {trunk.Optional, protected(answeredWith, "RTP/SAVP"), "no key for SRTP that is taken here"},
		"not what we named": {trunk.Required, protected(answeredWith, "RTP/SAVP", bad), "answer takes AES_CM_128_HMAC_SHA1_32, which was not offered"},
	} {
		t.Run(name, func(t *testing.T) {
			plainly(t, func(pbx, _ *trunk.Config) { pbx.SRTP = test.srtp }, func(b *bubble) {
				b.carrier.Invite("+31205550100", offered, "")
				b.carrier.Expect("SIP/2.0 100")
				toPBX := b.pbx.Expect("INVITE ")
				b.pbx.Reply(toPBX, "200 OK", test.answer)
				b.pbx.Expect("ACK ")
				b.pbx.Reply(b.pbx.Expect("BYE "), "200 OK", "")
				wantHeader(t, b.carrier.Expect("SIP/2.0 488"), "Warning", fmt.Sprintf("399 bewaard %q", test.warning))
				b.did("connect caller to "+carrierAudio, "close media")
			})
		})
	}
}

// An emergency call is taken as it comes, and offered so.
func TestEmergencyIsNotHeldUpByKeys(t *testing.T) {
	plainly(t, bothRequire, func(b *bubble) {
		b.pbx.Invite("112", answeredWith, "")
		b.pbx.Expect("SIP/2.0 100")
		out := b.carrier.Expect("INVITE ")
		b.wantKeys(out, "RTP/AVP 1 AEAD_AES_256_GCM k1, 2 AEAD_AES_128_GCM k2, 3 AES_CM_128_HMAC_SHA1_80 k3")
		b.carrier.Reply(out, "200 OK", offered)
		b.carrier.Expect("ACK ")
		b.pbx.Expect("SIP/2.0 200")
	})
}

// Handshakes: an offer of ours leaves open who begins, an answer of ours begins where it may,
// and who began goes on to; a change of the certificate is another handshake.
func TestHandshakes(t *testing.T) {
	const print, another = "a=fingerprint:sha-256 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF", "a=fingerprint:sha-256 00:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF"
	shake := func(pbx, carrier *trunk.Config) {
		bothRequire(pbx, carrier)
		pbx.SRTPKeys, carrier.SRTPKeys = trunk.DTLS, trunk.DTLS
	}
	const tls = "UDP/TLS/RTP/SAVP"
	for name, test := range map[string]struct {
		setup, answer string // the carrier's, and ours to it
		nat           bool
		client        bool
	}{
		"we may begin":     {"a=setup:actpass", "a=setup:active", false, true},
		"we have to":       {"a=setup:passive", "a=setup:active", false, true},
		"he begins":        {"a=setup:active", "a=setup:passive", false, false},
		"he is behind NAT": {"a=setup:actpass", "a=setup:passive", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			plainly(t, func(pbx, carrier *trunk.Config) { shake(pbx, carrier); carrier.NAT = test.nat }, func(b *bubble) {
				invite := b.carrier.Invite("+31205550100", protected(offered, tls, print, test.setup, "a=rtcp-mux"), "")
				b.carrier.Expect("SIP/2.0 100")
				toPBX := b.pbx.Expect("INVITE ")
				wantBody(t, toPBX, "m=audio 20002 "+tls+" 8", "a=setup:actpass", "a=rtcp-mux")
				if !strings.Contains(toPBX.Body(), "a=fingerprint:") {
					t.Errorf("got %q", toPBX.Body())
				}
				answer := b.pbx.Reply(toPBX, "200 OK", protected(answeredWith, tls, print, "a=setup:active"))
				b.pbx.Expect("ACK ")
				ok := b.carrier.Expect("SIP/2.0 200")
				wantBody(t, ok, "m=audio 20000 "+tls+" 8", test.answer, "a=rtcp-mux")
				b.did("connect caller to "+carrierAudio+" pending", "connect callee to "+pbxAudio+" dtls client=false",
					fmt.Sprintf("connect caller to %s dtls client=%v", carrierAudio, test.client), "relay caller true", "relay callee true")
				caller := calling(b.carrier, invite, ok)
				caller.ack("")
				synctest.Wait()
				caller.offer(protected(offered, tls, another, "a=setup:actpass", "a=sendonly"))
				b.carrier.Expect("SIP/2.0 100")
				held := b.pbx.Expect("INVITE ")
				wantBody(t, held, "a=setup:actpass", "a=sendonly")
				b.pbx.Reply(held, "200 OK", protected(answeredWith, tls, print, "a=setup:active", "a=recvonly"))
				b.pbx.Expect("ACK ")
				wantBody(t, b.carrier.Expect("SIP/2.0 200"), test.answer)
				caller.ack("")
				b.over(called(b.pbx, toPBX, answer))
			})
		})
	}
}

// A handshake with a caller begins with our answer, not while the callee is told: what comes
// before he knows of it he drops, and a handshake does not wait for ever.
func TestHandshakeBeginsWithTheAnswer(t *testing.T) {
	const tls, print = "UDP/TLS/RTP/SAVP", "a=fingerprint:sha-256 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF"
	inBubbleOf(t, nil, func(pbx, _ *trunk.Config) { pbx.SRTP, pbx.SRTPKeys = trunk.Required, trunk.DTLS }, func(b *bubble) {
		invite := b.pbx.Invite("+31612345678", protected(answeredWith, tls, print, "a=setup:actpass"), "")
		b.pbx.Expect("SIP/2.0 100")
		toCarrier := b.carrier.Expect("INVITE ")
		answer := b.carrier.Reply(toCarrier, "200 OK", offered)
		b.carrier.Expect("ACK ")
		b.did("connect caller to "+pbxAudio+" pending", "connect callee to "+carrierAudio, "relay callee false", "play 25 frames to callee")
		answered := b.pbx.Expect("SIP/2.0 200") // once he is told
		wantBody(t, answered, "a=setup:active")
		b.did("connect caller to "+pbxAudio+" dtls client=true", "relay caller true", "relay callee true", "record quality by out, caller's channel 1", "capture true")
		b.pbx.InDialog("ACK", invite, answered, 1)
		called(b.carrier, toCarrier, answer).send("BYE", "", "")
		b.carrier.Expect("SIP/2.0 200")
		b.pbx.Reply(b.pbx.Expect("BYE "), "200 OK", "")
	})
}

// A caller who makes no handshake before he is answered does not keep the PBX from being called:
// he is told once he is.
func TestHandshakeNotBeforeTheAnswer(t *testing.T) {
	const tls, print = "UDP/TLS/RTP/SAVP", "a=fingerprint:sha-256 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF"
	inBubbleOf(t, nil, func(_, carrier *trunk.Config) {
		carrier.SRTP, carrier.SRTPKeys = trunk.Required, trunk.DTLS
	}, func(b *bubble) {
		b.broken = make(chan media.Broken, 1)
		invite := b.carrier.Invite("+31205550100", protected(offered, tls, print, "a=setup:actpass"), "")
		b.carrier.Expect("SIP/2.0 100")
		b.carrier.Expect("SIP/2.0 183")
		b.did("connect caller to "+carrierAudio+" pending", "connect caller to "+carrierAudio+" dtls client=true", "play 25 frames to caller")
		b.broken <- media.Broken{Leg: rtp.Caller, Err: errors.New("no answer")}
		toPBX := b.pbx.Expect("INVITE ")
		b.pbx.Reply(toPBX, "486 Busy Here", "")
		b.pbx.Expect("ACK ")
		b.carrier.Transaction("ACK", invite, b.carrier.Expect("SIP/2.0 486").Header("To"))
	})
}

// A leg whose handshake comes to nothing has no media: the call ends.
func TestHandshakeFails(t *testing.T) {
	plainly(t, nil, func(b *bubble) {
		b.broken = make(chan media.Broken, 1)
		b.talking(offered, answeredWith)
		b.broken <- media.Broken{Leg: rtp.Caller, Err: errors.New("no answer")}
		b.pbx.Reply(b.pbx.Expect("BYE "), "200 OK", "")
		bye := b.carrier.Expect("BYE ")
		b.carrier.Reply(bye, "200 OK", "")
		b.wrote("calling", "not_recorded answered no_rule")
	})
}

// What cannot be protected does not pass to a trunk that requires it, nor from it: fax beside
// the audio, or in its place.
func TestFaxIsNotProtected(t *testing.T) {
	const fax = "m=image 4002 udptl t38\r\n"
	required := func(pbx, _ *trunk.Config) { pbx.SRTP = trunk.Required }
	plainly(t, required, func(b *bubble) {
		_, pbx := b.talking(offered, protected(answeredWith, "RTP/SAVP", b.crypto(1, srtp.AES256GCM)))
		offer := pbx.offer(strings.Replace(offerHead, "127.0.0.1", "10.0.0.5", -1) + fax)
		b.pbx.Expect("SIP/2.0 100")
		b.pbx.Acknowledge(offer, b.pbx.Expect("SIP/2.0 488"))
		b.did()
		b.over(pbx)
	})
	plainly(t, required, func(b *bubble) {
		b.carrier.Invite("+31205550100", offered+fax, "")
		b.carrier.Expect("SIP/2.0 100")
		wantBody(t, b.pbx.Expect("INVITE "), "m=image 0 udptl t38")
	})
}
