package spool

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/media/rtp"
)

// notice is of two frames' worth of audio and a little more.
func notice() *Notice {
	n := &Notice{Prompt: "recorded", SHA256: "5f2c", Leg: rtp.Callee, Hz: 16000}
	for i := range 2*maxPayloadBytes/640 + 1 {
		n.L16 = append(n.L16, bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 320))
	}
	return n
}

// A notice comes back whole, behind the header and in front of all that was captured.
func TestNotice(t *testing.T) {
	dir := directory(t)
	h := header()
	h.Notice = notice()
	f := create(t, dir, terms(), h)
	if err := f.Append(rtp.Caller, batch(0)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(""); err != nil {
		t.Fatal(err)
	}
	r, err := Open(dir.Name()+"/"+f.Name(), plainly{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	audio := bytes.Join(notice().L16, nil)
	want := Notice{Prompt: "recorded", SHA256: "5f2c", Leg: rtp.Callee, Hz: 16000, Bytes: len(audio)}
	if diff := cmp.Diff(&want, r.Header.Notice); diff != "" {
		t.Errorf("notice (-want +got):\n%s", diff)
	}
	if h.Notice.Bytes != 0 {
		t.Error("the notice that was given was written to")
	}
	var got []byte
	frame, err := r.Next()
	for ; err == nil; frame, err = r.Next() {
		part, ok := frame.(NoticeAudio)
		if !ok {
			break
		}
		got = append(got, part.L16...)
	}
	if !bytes.Equal(got, audio) {
		t.Errorf("got %d bytes of audio, want %d", len(got), len(audio))
	}
	if _, ok := frame.(Batch); !ok {
		t.Errorf("got %T behind the notice, want the batch", frame)
	}
	if _, err = r.Next(); err != nil {
		t.Error(err)
	}
	if _, err = r.Next(); err != io.EOF {
		t.Errorf("got %v, want the end", err)
	}
}

// A notice that says nothing, or that nobody could tell the prompt of, is refused.
func TestNoticeRefused(t *testing.T) {
	for want, spoil := range map[string]func(*Notice){
		"no prompt":      func(n *Notice) { n.Prompt = "" },
		"no hash":        func(n *Notice) { n.SHA256 = "" },
		"44100 Hz":       func(n *Notice) { n.Hz = 44100 },
		"leg 2":          func(n *Notice) { n.Leg = 2 },
		"0 bytes":        func(n *Notice) { n.L16 = nil },
		"1 bytes":        func(n *Notice) { n.L16 = [][]byte{{1}} },
		"at most a minu": func(n *Notice) { n.L16 = [][]byte{make([]byte, maxNoticeBytes+2)} },
	} {
		dir := directory(t)
		h := header()
		h.Notice = notice()
		spoil(h.Notice)
		_, err := Create(dir, plainly{}, grant(t, terms()), h)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one with %q", err, want)
		}
		if names := listing(t, dir); len(names) != 0 {
			t.Errorf("%s: got files %q, want none", want, names)
		}
	}
}
