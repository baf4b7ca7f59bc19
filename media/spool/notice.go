package spool

import (
	"errors"
	"fmt"

	"github.com/bewaard/bewaard/media/rtp"
)

// maxNoticeBytes is a minute of samples at 48 kHz, and a little more.
const maxNoticeBytes = 61 * 48000 * 2

// Notice is an announcement that the recording itself begins with, in front of what was
// captured. Its audio is the prompt's own: nothing that a party said is ever put there.
type Notice struct {
	Prompt string  `json:"prompt"` // id
	SHA256 string  `json:"sha256"` // of the prompt's file, in hex
	Leg    rtp.Leg `json:"leg"`    // on whose channel it is
	Both   bool    `json:"both,omitempty"`
	Hz     int     `json:"hz"`    // of its samples: 8000, 16000 or 48000
	Bytes  int     `json:"bytes"` // of its samples, two each; Create counts them

	// L16 is the audio, given to Create as payloads of L16 (RFC 3551 §4.5.11). A reader
	// gets it as frames behind the header.
	L16 [][]byte `json:"-"`
}

// NoticeAudio is a part of the notice's audio, in order: samples of L16.
type NoticeAudio struct {
	L16 []byte // valid until the next frame is read
}

func (NoticeAudio) frame() {}

// validate says why a recording cannot begin with the notice.
func (n *Notice) validate() error {
	switch {
	case n.Prompt == "" || n.SHA256 == "":
		return errors.New("notice: no prompt, or no hash of it")
	case n.Hz != 8000 && n.Hz != 16000 && n.Hz != 48000:
		return fmt.Errorf("notice: %d Hz, not 8000, 16000 or 48000", n.Hz)
	case n.Leg > rtp.Callee:
		return fmt.Errorf("notice: leg %d", n.Leg)
	case n.Bytes <= 0 || n.Bytes > maxNoticeBytes || n.Bytes%2 != 0:
		return fmt.Errorf("notice: %d bytes are not samples of at most a minute", n.Bytes)
	}
	return nil
}

// counted returns a copy of the notice with its bytes counted.
func (n *Notice) counted() *Notice {
	if n == nil {
		return nil
	}
	counted := *n
	counted.Bytes = 0
	for _, payload := range n.L16 {
		counted.Bytes += len(payload)
	}
	return &counted
}

// appendNotice appends the frames of the notice's audio to dst.
func (s *sealer) appendNotice(dst []byte, n *Notice) []byte {
	if n == nil {
		return dst
	}
	var audio []byte
	for _, payload := range n.L16 {
		audio = append(audio, payload...)
	}
	for len(audio) > 0 {
		part := audio[:min(len(audio), maxSealedBytes)]
		audio = audio[len(part):]
		start := len(dst)
		dst = s.end(append(s.begin(dst, noticeFrame, 0), part...), start)
	}
	return dst
}
