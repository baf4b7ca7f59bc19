package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bewaard/bewaard/store"
)

// A row is told in words that do not contradict each other.
func TestTell(t *testing.T) {
	at := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		row        store.Row
		want, wont []string
	}{
		"an announcement that was cut short": {
			store.Row{
				State: store.StateNotRecorded, Reason: "not_connected", Ended: at, Outcome: "abandoned", Cause: "hung_up", EndedBy: "caller", SIPStatus: 200,
				Announcement: &store.Announcement{Prompt: "recorded", Leg: "caller", Codec: "PCMA", Packets: 10, Total: 150, FirstAt: at, LastAt: at, Interruptions: 1, Level: "sent"},
			},
			[]string{
				"the parties were never connected (not_connected)", "abandoned: the caller hung up (hung_up); the caller's INVITE got SIP status 200",
				"NOT WHOLE: 10 of 150 packets in PCMA, 09:00:00.000 to 09:00:00.000, 1 interruption\n", "proof: none, it was cut short",
			},
			[]string{"every packet", "interruptions"},
		},
		"a callee that is not there": {
			store.Row{State: store.StateNotRecorded, Ended: at, Outcome: "unreachable", Cause: "unreachable", EndedBy: "callee", SIPStatus: 503},
			[]string{"unreachable: the callee's side did not respond, or could not be sent to (unreachable); the caller's INVITE got SIP status 503"},
			[]string{"by callee"},
		},
		"a recording that goes on": {
			store.Row{State: store.StateRecording, Expires: at, Recording: &store.Recording{Began: at}},
			[]string{"recording   from 2026-11-24T09:00:00Z, and goes on", "expires     not while the call goes on"},
			[]string{"0.0 s"},
		},
		"a recording that is kept": {
			store.Row{State: store.StateKept, Ended: at, Expires: at, Recording: &store.Recording{Began: at, ExpectedSeconds: 1, CapturedSeconds: 1.5, Lost: 2}},
			[]string{"1.0 s from 2026-11-24T09:00:00Z, of which packets fill 75 %, both channels counted; 2 packets lost, 0 dropped", "expires     2026-11-24T09:00:00Z"},
			nil,
		},
		"parties that were protected, or were not": {
			store.Row{State: store.StateKept, Ended: at, Audio: []store.Audio{
				{Leg: "caller", Packets: 9, Protection: "sdes AES_CM_128_HMAC_SHA1_80", Unprotected: 2}, {Leg: "callee", Packets: 9},
			}},
			[]string{
				"protected between the caller and us: SRTP, AES_CM_128_HMAC_SHA1_80, keys from the session descriptions (SDES); 2 of the packets came while they were NOT\n",
				"not protected between the callee and us\n",
			},
			nil,
		},
		"a party protected by a handshake": {
			store.Row{State: store.StateKept, Ended: at, Audio: []store.Audio{{Leg: "callee", Packets: 9, Protection: "dtls AEAD_AES_256_GCM"}}},
			[]string{"protected between the callee and us: SRTP, AEAD_AES_256_GCM, keys by a handshake (DTLS)\n"},
			[]string{"NOT"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := tell(&b, &test.row); err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if !strings.Contains(b.String(), want) {
					t.Errorf("got %s\nwant %q in it", b.String(), want)
				}
			}
			for _, wont := range test.wont {
				if strings.Contains(b.String(), wont) {
					t.Errorf("got %s\nwant no %q in it", b.String(), wont)
				}
			}
		})
	}
}

// Every reason and cause that a call can have is told in words.
func TestEveryReasonHasWords(t *testing.T) {
	for pattern, words := range map[string]map[string]string{
		`(?:cannotRecord\(|silent = |Reason = |StateFailed, )"(\w+)"`: whys,
		`(?m)^\t\w+ +Cause = "(\w+)"`:                                 endings,
		`Cause = .*"(daemon_died)"`:                                   endings,
	} {
		found := false
		files, err := filepath.Glob("../../call/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
				found = true
				if words[m[1]] == "" {
					t.Errorf("%s: no words for %q", name, m[1])
				}
			}
		}
		if !found {
			t.Errorf("nothing is like %s", pattern)
		}
	}
}

// While a call goes on, tables show no expiry: its row's is not the recording's.
func TestExpiresWhileCallGoesOn(t *testing.T) {
	row := store.Row{State: store.StateRecording, Expires: time.Now()}
	if got := expires(&row); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
	if row.Ended = time.Now(); expires(&row) == "" {
		t.Error("got nothing after the end")
	}
}
