package sdp

import (
	"net/netip"
	"strings"
	"testing"
)

// What a party wants of a recording is read from the stream or else the session, in any case
// of letters; what is no such wish is none; and who contradicts himself is recorded less.
func TestRecordPref(t *testing.T) {
	for _, test := range []struct {
		session, stream []string
		want            RecordPref
	}{
		{nil, nil, ""},
		{nil, []string{"a=recordpref:on"}, PrefOn},
		{nil, []string{"a=recordpref:OFF"}, PrefOff},
		{nil, []string{"a=recordpref:pause"}, PrefPause},
		{nil, []string{"a=recordpref:nopreference"}, PrefNone},
		{[]string{"a=recordpref:off"}, nil, PrefOff},
		{[]string{"a=recordpref:off"}, []string{"a=recordpref:on"}, PrefOn},
		{[]string{"a=recordpref:off"}, []string{"a=recordpref:perhaps"}, PrefOff},
		{nil, []string{"a=recordpref:on", "a=recordpref:pause", "a=recordpref:nopreference"}, PrefPause},
		{nil, []string{"a=recordpref"}, ""},
		{nil, []string{"a=recordpref: off"}, ""},
		{nil, []string{"a=recordpref:off "}, ""},
		{nil, []string{"a=recordpref:paused"}, ""},
		{nil, []string{"a=record:off"}, ""},
		{nil, []string{"a=Recordpref:off"}, ""},
	} {
		lines := append(append([]string{"v=0", "c=IN IP4 10.0.0.5"}, test.session...), append([]string{"m=audio 10000 RTP/AVP 8"}, test.stream...)...)
		d := parse(t, text(lines...))
		if got := d.RecordPref(d.Media[0]); got != test.want {
			t.Errorf("session %q, stream %q: got %q, want %q", test.session, test.stream, got, test.want)
		}
	}
}

// We say once whether we record, of the stream; what a party said of its own recording, or
// wants of ours, does not reach the other one.
func TestRecordIsHopByHop(t *testing.T) {
	d := parse(t, text("v=0", "c=IN IP4 10.0.0.5", "a=record:on", "a=recordpref:off", "m=audio 10000 RTP/AVP 8", "a=record:paused", "a=recordpref:pause"))
	if got := d.Record(d.Media[0]); got != RecordPaused {
		t.Errorf("got %q, want what the stream says", got)
	}
	d.Locate(Origin{1, 1, netip.MustParseAddr("198.51.100.1")}, []uint16{20000})
	if got := string(d.Bytes()); strings.Contains(got, "record") {
		t.Errorf("got %q on the other leg, want nothing of a recording", got)
	}
	unsaid := d.Clone()
	for _, r := range []Record{RecordOn, RecordPaused, RecordOff} {
		d.Media[0].SetRecord(r)
		again := parse(t, d.Bytes())
		if got := again.Record(again.Media[0]); got != r || strings.Count(string(d.Bytes()), "a=record:") != 1 {
			t.Errorf("got %q in %q, want %q once", got, d.Bytes(), r)
		}
	}
	if !Equivalent(d, unsaid) || Same(d, unsaid) {
		t.Error("want descriptions that differ in a recording to mean the same to the other party, and not to be the same")
	}
}
