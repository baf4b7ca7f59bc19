package store

import (
	"bytes"
	"reflect"
	"testing"
	"time"
)

// full returns a row with every field set.
func full() Row {
	at := time.Date(2026, 11, 24, 12, 0, 0, 123456789, time.UTC)
	id := "019ab5f0-7c00-7000-8000-000000000001"
	return Row{
		ID: id, State: StateDestroyed, Reason: "r", Direction: "inbound", CallerTrunk: "carrier", CalleeTrunk: "pbx",
		part: &sealedPart{"2026-11-24", "00ff", []byte("sealed")}, tokens: []token{{1}, {2}}, ContinuedIn: id,
		Began: at, Answered: at.Add(1), Ended: at.Add(2), Outcome: "answered", Cause: "hung_up", EndedBy: "caller", SIPStatus: 200,
		Rule: "customers", Policy: "0f", Purpose: "quality", Basis: "consent", Retention: "P14D", Expires: at.Add(3),
		Announcement: &Announcement{
			Prompt: "recorded", Language: "nl", Text: "Dit gesprek wordt <opgenomen>", SHA256: "00", Leg: "caller", Codec: "PCMA",
			Packets: 150, Total: 150, FirstSequence: 65500, LastSequence: 113, FirstAt: at, LastAt: at.Add(3 * time.Second),
			Complete: true, Interruptions: 1, Level: "confirmed", AcknowledgedSequence: 65649, AcknowledgedLoss: 0.25, Exempt: "x",
		},
		Recording: &Recording{Began: at, Ended: at.Add(5), ExpectedSeconds: 60, CapturedSeconds: 59.98, Lost: 1, Dropped: 2, Torn: true},
		Files:     []File{{Path: "recordings/2026/11/24/" + id + ".opus", Format: "opus", Bytes: 1 << 40, Seconds: 59.98, SHA256: "00", Epoch: "2026-11-24", ContentBytes: 7, ContentSHA256: "01"}},
		Destroyed: at.Add(4),
	}
}

// A row with every field set comes back as it went in.
func TestCodec(t *testing.T) {
	want := full()
	value, err := encodeRow(&want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeRow([]byte(want.ID), value)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(want, got) {
		t.Errorf("got row %+v, want %+v", got, want)
	}
}

// What tells who called is never written in the clear, nor read so.
func TestCodecRefusesTheClear(t *testing.T) {
	row := full()
	row.part, row.Caller = nil, "+31201234567"
	if value, err := encodeRow(&row); err == nil {
		t.Errorf("got %s", value)
	}
	value := []byte(`{"id":"` + row.ID + `","state":"calling","began":"2026-11-24T12:00:00Z","caller":"+31201234567"}`)
	if _, err := decodeRow([]byte(row.ID), value); err == nil {
		t.Error("got no error of a row that was written so")
	}
}

// A row under another's id is not that row.
func TestDecodeUnderAnotherID(t *testing.T) {
	row := full()
	value, err := encodeRow(&row)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decodeRow([]byte(NewID()), value); err == nil {
		t.Error("got no error")
	}
}

// Whatever bytes the disk brings, they are refused or are a row that can be kept,
// and is the same when it is read again.
func FuzzDecodeRow(f *testing.F) {
	row := full()
	value, err := encodeRow(&row)
	if err != nil {
		f.Fatal(err)
	}
	id := row.ID
	f.Add(value)
	f.Add([]byte(`{"id":"` + id + `","state":"calling","began":"2026-11-24T12:00:00Z"}`))
	f.Add([]byte(`{"id":"` + id + `","state":"calling","began":"2026-11-24T12:00:00Z","personal":{"epoch":"","key":"","data":null},"numbers":["00"]}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		row, err := decodeRow([]byte(id), value)
		if err != nil {
			return
		}
		for _, x := range indexes {
			for _, key := range x.keys(&row) {
				if got := keyID(key[x.sought:]); got != id {
					t.Errorf("index %s: got a key of row %q, want one of %q", x.table, got, id)
				}
			}
		}
		again, err := encodeRow(&row)
		if err != nil {
			t.Fatal(err)
		}
		same, err := decodeRow([]byte(id), again)
		if err != nil {
			t.Fatal(err)
		}
		third, err := encodeRow(&same)
		if err != nil || !bytes.Equal(third, again) {
			t.Errorf("got %s, %v of a row read again, want %s", third, err, again)
		}
	})
}
