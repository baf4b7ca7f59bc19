package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// full returns a row with every field set.
func full() Row {
	at := time.Date(2026, 11, 24, 12, 0, 0, 123456789, time.UTC)
	id := "019ab5f0-7c00-7000-8000-000000000001"
	return Row{
		ID: id, State: StateDestroyed, Reason: "r", Direction: "inbound", CallerTrunk: "carrier", CalleeTrunk: "pbx",
		Caller: "+31201234567", Callee: "+31687654321", CallerCallID: "a", CalleeCallID: "b",
		Joined: []Joined{{At: at, Leg: "callee", Trunk: "pbx", Number: "+31201234999", Call: id}}, ContinuedIn: id,
		Began: at, Answered: at.Add(1), Ended: at.Add(2), Outcome: "answered", Cause: "hung_up", EndedBy: "caller", SIPStatus: 200,
		Rule: "customers", Policy: "0f", Purpose: "quality", Basis: "consent", Retention: "P14D", Expires: at.Add(3),
		Announcement: &Announcement{
			Prompt: "recorded", Language: "nl", Text: "Dit gesprek wordt <opgenomen>", SHA256: "00", Leg: "caller", Codec: "PCMA",
			Packets: 150, Total: 150, FirstSequence: 65500, LastSequence: 113, FirstAt: at, LastAt: at.Add(3 * time.Second),
			Complete: true, Interruptions: 1, Level: "confirmed", AcknowledgedSequence: 65649, AcknowledgedLoss: 0.25, Exempt: "x",
		},
		Recording: &Recording{Began: at, Ended: at.Add(5), ExpectedSeconds: 60, CapturedSeconds: 59.98, Lost: 1, Dropped: 2, Torn: true},
		Files:     []File{{Path: "recordings/2026/11/24/" + id + ".opus", Format: "opus", Bytes: 1 << 40, Seconds: 59.98, SHA256: "00"}},
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
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("row, -want +got:\n%s", diff)
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
	f.Fuzz(func(t *testing.T, value []byte) {
		row, err := decodeRow([]byte(id), value)
		if err != nil {
			return
		}
		for _, x := range indexes {
			if key := x.key(&row); key != nil && keyID(key) != id {
				t.Errorf("got a key of row %q, want one of %q", keyID(key), id)
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
		if diff := cmp.Diff(row, same, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("row read again, -want +got:\n%s", diff)
		}
	})
}
