package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/bewaard/bewaard/cmd/callsim/sim"
	"github.com/bewaard/bewaard/media/resample"
	"github.com/bewaard/bewaard/media/wav"
)

// find looks for a prompt in a file.
type find struct {
	Prompt  string `arg:"" type:"existingfile" help:"The prompt, a mono WAV file."`
	Heard   string `arg:"" type:"existingfile" help:"What was heard, or recorded: a WAV file."`
	Channel string `enum:"left,right" default:"left" help:"Which channel of a stereo file: left or right."`
}

// errNotWhole is the answer no.
var errNotWhole = errors.New("the prompt is not whole in it")

func (f *find) Run() error {
	prompt, err := speechOf(f.Prompt, 0)
	if err != nil {
		return err
	}
	channel := 0
	if f.Channel == "right" {
		channel = 1
	}
	heard, err := speechOf(f.Heard, channel)
	if err != nil {
		return err
	}
	found, ok := sim.Find(heard, prompt)
	switch {
	case !ok:
		return fmt.Errorf("%w: no part of it", errNotWhole)
	case !found.Whole():
		return fmt.Errorf("%w: %d of %d stretches of 20 ms are missing, the first %v after its beginning", errNotWhole, found.Missing, found.Of, timeOf(found.First))
	}
	fmt.Printf("whole, from %v to %v\n", timeOf(found.At), timeOf(found.At+len(prompt)))
	return nil
}

func timeOf(samples int) time.Duration { return time.Duration(samples) * time.Second / 8000 }

// speechOf reads a channel of a WAV file, at 8 kHz. A mono file has one for both.
func speechOf(name string, channel int) ([]int16, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := wav.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	to8, err := resample.New(r.Hz, 8000)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var samples []int16
	part := make([]int16, 1024*r.Channels)
	for {
		n, err := r.Read(part)
		for i := min(channel, r.Channels-1); i < n; i += r.Channels {
			samples = append(samples, part[i])
		}
		if err == io.EOF {
			return to8.Flush(to8.Process(nil, samples)), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
}
