package sdp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// key is RFC 4568's example, of 30 bytes.
const key = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"

// Lines of a=crypto that are taken, and what is wrong with those that are not: the fault
// says nothing of the key.
func TestParseCrypto(t *testing.T) {
	for line, want := range map[string]error{
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key:                                   nil,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key + "|2^20":                         nil,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key + "|1048576":                      nil,
		"999999999  AES_CM_128_HMAC_SHA1_32   inline:" + key + "|2^48 WSH=128 -x=y": nil,
		"1 AEAD_AES_256_GCM INLINE:" + strings.Repeat("A", 59):                      nil, // no padding
		"1 AEAD_AES_256_GCM inline:" + strings.Repeat("A", 59) + "=":                nil,
		"1 SOMETHING_ELSE inline:" + key:                                            nil, // whether we have it is the caller's business
		"":                                                                          errCryptoForm,
		"1 AES_CM_128_HMAC_SHA1_80":                                                 errCryptoForm,
		"1 AES_CM_128_HMAC_SHA1_80 uri:" + key:                                      errCryptoForm,
		"x AES_CM_128_HMAC_SHA1_80 inline:" + key:                                   errCryptoTag,
		"-1 AES_CM_128_HMAC_SHA1_80 inline:" + key:                                  errCryptoTag,
		"1234567890 AES_CM_128_HMAC_SHA1_80 inline:" + key:                          errCryptoTag,
		"1 AES_CM_128_HMAC_SHA1_80 inline:":                                         errCryptoKey,
		"1 AES_CM_128_HMAC_SHA1_80 inline:!" + key:                                  errCryptoKey,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key + ";inline:" + key:                errCryptoKeys,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key + "|2^20|1:4":                     errCryptoMKI,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key + "|1:4":                          errCryptoMKI,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key + "|2^49":                         errCryptoLife,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key + "|":                             errCryptoLife,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key + "|3^20":                         errCryptoLife,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key + " UNENCRYPTED_SRTP":             errCryptoSession,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key + " UNENCRYPTED_SRTCP":            errCryptoSession,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key + " UNAUTHENTICATED_SRTP":         errCryptoSession,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key + " KDR=1":                        errCryptoSession,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key + " FEC_KEY=inline:" + key:        errCryptoSession,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key + " WSH=64 FEC_ORDER=FEC_SRTP":    errCryptoSession,
	} {
		c, err := ParseCrypto(line)
		if err != want {
			t.Errorf("%q: got %v, want %v", line, err, want)
		}
		if err == nil && len(c.Key) < 30 {
			t.Errorf("%q: got a key of %d bytes", line, len(c.Key))
		}
	}
}

// What is written is read as it was.
func TestCryptos(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &Media{Type: "audio", Port: 4000, Proto: "RTP/SAVP", Formats: []string{"8"}}
		var want []Crypto
		for range rapid.IntRange(0, 4).Draw(t, "lines") {
			want = append(want, Crypto{
				rapid.IntRange(0, 999999999).Draw(t, "tag"), rapid.StringMatching(`[A-Z0-9_]{1,30}`).Draw(t, "suite"),
				Secret(rapid.SliceOfN(rapid.Byte(), 1, 46).Draw(t, "key")),
			})
		}
		m.SetCryptos([]Crypto{{1, "OLD", "old"}})
		m.SetCryptos(want)
		d := &Description{lines: []string{"v=0"}, Media: []*Media{m}}
		again, err := Parse(d.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if got := again.Media[0].Cryptos(); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %d lines that are not the %d written", len(got), len(want))
		}
	})
}

// Fingerprints are the stream's, or else the session's; so is the setup.
func TestFingerprints(t *testing.T) {
	const sum = "4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF"
	d := parse(t, text("v=0", "a=fingerprint:SHA-256 "+strings.ToLower(sum), "a=setup:passive", "a=tls-id:abc",
		"m=audio 4000 UDP/TLS/RTP/SAVP 8", "m=audio 4002 UDP/TLS/RTP/SAVPF 8", "a=fingerprint:sha-1 AA", "a=fingerprint:sha-256 nonsense", "a=setup:ACTIVE", "a=rtcp-mux"))
	first, second := d.Media[0], d.Media[1]
	f := d.Fingerprints(first)
	if len(f) != 1 || f[0].String() != "sha-256 "+sum || d.Setup(first, ActPass) != Passive || d.TLSID(first) != "abc" || first.Mux() {
		t.Errorf("got %v, %s of the session", f, d.Setup(first, ActPass))
	}
	if f := d.Fingerprints(second); len(f) != 1 || f[0] != (Fingerprint{"sha-1", "\xaa"}) || d.Setup(second, ActPass) != Active || !second.Mux() {
		t.Errorf("got %v, %s of the stream", f, d.Setup(second, ActPass))
	}
	second.SetDTLS(f[0], ActPass)
	if got := d.Fingerprints(second); !reflect.DeepEqual(got, f) || d.Setup(second, Active) != ActPass {
		t.Errorf("got %v of what was written, want %v", got, f)
	}
	for _, bad := range []string{"", "sha-256", "sha-256 AA BB", "sha-256 A", "sha-256 AAA:BB", "sha-256 AA:", "sha-256 GG"} {
		if _, err := ParseFingerprint(bad); err == nil {
			t.Errorf("%q was taken for a fingerprint", bad)
		}
	}
}

// A fingerprint of whatever bytes is read as it was written.
func TestFingerprintBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Fingerprint{"sha-256", string(rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(t, "sum"))}
		if got, err := ParseFingerprint(want.String()); err != nil || got != want {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
	})
}

// Who begins is who may: RFC 5763 §5.
func TestSetup(t *testing.T) {
	for offered, want := range map[Setup]Setup{ActPass: Active, Passive: Active, Active: Passive, HoldConn: "", "nonsense": ""} {
		if got, ok := offered.Answer(); got != want || ok != (want != "") {
			t.Errorf("got %q, %v for %q, want %q", got, ok, offered, want)
		}
	}
}

// A profile is read with feedback and without; located, nothing of another's protection is
// left.
func TestProfile(t *testing.T) {
	for proto, want := range map[string]Profile{
		"RTP/AVP": Plain, "RTP/AVPF": Plain, "RTP/SAVP": SAVP, "RTP/SAVPF": SAVP, "UDP/TLS/RTP/SAVP": DTLS, "UDP/TLS/RTP/SAVPF": DTLS,
		"udptl": "", "TCP/RTP/AVP": "", "TCP/TLS/RTP/SAVP": "", "": "", "F": "",
	} {
		m := &Media{Type: "audio", Port: 4000, Proto: proto}
		if got := m.Profile(); got != want || m.RTP() != (want != "") {
			t.Errorf("got %q of %q, want %q", got, proto, want)
		}
	}
	d := parse(t, describe("a=fingerprint:sha-256 AA", "m=audio 4000 RTP/SAVPF 8", "a=crypto:1 X inline:"+key, "a=setup:active", "a=rtcp-mux", "a=key-mgmt:mikey AA", "a=sendrecv"))
	d.Locate(Origin{}, []uint16{5000})
	if got := string(d.Bytes()); !strings.Contains(got, "m=audio 5000 RTP/AVP 8\r\na=sendrecv\r\n") || strings.Contains(got, "fingerprint") {
		t.Errorf("got %s", got)
	}
}

// How packets are protected does not make descriptions say something else.
func TestEquivalentProtected(t *testing.T) {
	offer := parse(t, describe("m=audio 4000 RTP/SAVP 8", "a=crypto:1 X inline:"+key, "a=crypto:2 Y inline:"+key))
	answer := parse(t, describe("m=audio 4000 RTP/SAVP 8", "a=crypto:2 Y inline:"+key))
	if !Equivalent(offer, answer) {
		t.Error("an answer that takes one line is not equivalent to the offer")
	}
	if Equivalent(offer, parse(t, describe("m=audio 4002 RTP/SAVP 8"))) {
		t.Error("another port is equivalent")
	}
}

// A description shows nothing of its keys, however it is looked at.
func TestSecretIsSilent(t *testing.T) {
	d := parse(t, describe("m=audio 4000 RTP/SAVP 8", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"+key))
	c := d.Media[0].Cryptos()
	if len(c) != 1 {
		t.Fatal("no a=crypto")
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("seen", "crypto", c[0], "all", c, "key", c[0].Key, "stream", d.Media[0], "description", d, "within", struct{ D *Description }{d})
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&log, verb+verb+verb+verb, c, c[0].Key, d, d.Media)
	}
	written, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	log.Write(written)
	raw, _ := base64.StdEncoding.DecodeString(key)
	for _, shown := range []string{key[:8], string(raw[:8]), fmt.Sprintf("%x", raw[:8]), fmt.Sprint(raw[:4])[1:]} {
		if strings.Contains(log.String(), strings.TrimSuffix(shown, "]")) {
			t.Errorf("the key is in %s", log.String())
		}
	}
}

func FuzzCrypto(f *testing.F) {
	f.Add("1 AES_CM_128_HMAC_SHA1_80 inline:" + key + "|2^20|1:32 WSH=64")
	f.Add("2 AEAD_AES_256_GCM inline:" + key + "==|1048576 -x")
	f.Add("sha-256 AA:BB")
	f.Fuzz(func(t *testing.T, v string) {
		if c, err := ParseCrypto(v); err == nil {
			m := &Media{}
			m.SetCryptos([]Crypto{c})
			if again := m.Cryptos(); len(again) != 1 || again[0] != c {
				t.Fatalf("%q is not read as it was written", v)
			}
		}
		if fp, err := ParseFingerprint(v); err == nil {
			if again, err := ParseFingerprint(fp.String()); err != nil || again != fp {
				t.Fatalf("got %v, %v, want %v", again, err, fp)
			}
		}
	})
}
