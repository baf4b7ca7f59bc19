package srtp

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	pion "github.com/pion/srtp/v3"
)

// The module's own contexts understand us, and we them: with the keys laid out as session
// descriptions have them.
func TestOtherEnd(t *testing.T) {
	for _, s := range every {
		t.Run(s.String(), func(t *testing.T) {
			k := NewKey(s)
			material, key := k.Material(), suites[s].key
			other, err := pion.CreateContext(material[:key], material[key:], profile(s))
			if err != nil {
				t.Fatal(err)
			}
			out, in := pair(t, k)
			want := packet(9, 3, 'p', 'l', 'a', 'i', 'n')
			sent, err := out.RTP(packet(9, 3, 'p', 'l', 'a', 'i', 'n'))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := other.DecryptRTP(nil, sent, nil); err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %x, %v, want %x", got, err, want)
			}
			back, err := pion.CreateContext(material[:key], material[key:], profile(s))
			if err != nil {
				t.Fatal(err)
			}
			if sent, err = back.EncryptRTP(nil, want, nil); err != nil {
				t.Fatal(err)
			}
			if got, err := in.RTP(sent); err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %x, %v, want %x", got, err, want)
			}
		})
	}
}

// Whoever shakes hands by the module's own means gets the keys that we get.
func TestOtherEndOfHandshake(t *testing.T) {
	for name, client := range map[string]bool{"we begin": true, "the other begins": false} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := identities(t)
			var h *Handshake
			var ready sync.WaitGroup
			ready.Add(1)
			way := newPipe(func(b []byte) error { ready.Wait(); h.Take(b); return nil })
			h, err := ours.Begin(Peer{[]Fingerprint{theirs.Fingerprint()}, client}, func(b []byte) error { way.take(b); return nil })
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			ready.Done()
			shown, any := dtls.WithCertificates(theirs.certificate), dtls.WithInsecureSkipVerify(true)
			profile := dtls.WithSRTPProtectionProfiles(dtls.SRTP_AES128_CM_HMAC_SHA1_80)
			var conn *dtls.Conn
			if client {
				conn, err = dtls.ServerWithOptions(way, peerAddr{}, shown, any, profile, dtls.WithClientAuth(dtls.RequireAnyClientCert))
			} else {
				conn, err = dtls.ClientWithOptions(way, peerAddr{}, shown, any, profile)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			var both sync.WaitGroup
			var in, out Key
			var failed error
			both.Go(func() { in, out, failed = h.Run(ctx) })
			if err := conn.HandshakeContext(ctx); err != nil {
				t.Fatal(err)
			}
			both.Wait()
			if failed != nil {
				t.Fatal(failed)
			}
			state, _ := conn.ConnectionState()
			keys := &pion.Config{Profile: pion.ProtectionProfileAes128CmHmacSha1_80}
			if err := keys.ExtractSessionKeysFromDTLS(&state, !client); err != nil {
				t.Fatal(err)
			}
			if got, want := in.Material(), append(keys.Keys.LocalMasterKey, keys.Keys.LocalMasterSalt...); !bytes.Equal(got, want) {
				t.Error("what comes in is by another key than the other end sends by")
			}
			if got, want := out.Material(), append(keys.Keys.RemoteMasterKey, keys.Keys.RemoteMasterSalt...); !bytes.Equal(got, want) {
				t.Error("what goes out is by another key than the other end takes")
			}
		})
	}
}
