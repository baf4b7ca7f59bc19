package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/bewaard/bewaard/api"
	"github.com/bewaard/bewaard/call"
)

// steered names a call that is up.
type steered struct {
	where
	ID string `arg:"" help:"The call's id."`
}

func (s *steered) steer(ctx context.Context, what, done, reason string, tag api.TagText) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	if err := client.Steer(ctx, s.ID, what, reason, tag); err != nil {
		return err
	}
	fmt.Println(done)
	return nil
}

type (
	pauseRecording  struct{ steered }
	resumeRecording struct{ steered }
	stopRecording   struct {
		steered
		because
	}
	discardRecording struct {
		steered
		because
	}
	tagRecording struct {
		steered
		Name string `arg:"" help:"Letters, digits, - and _, 32 at most."`
		Text string `arg:"" help:"128 bytes at most."`
	}
)

func (s *pauseRecording) Run(ctx context.Context) error {
	return s.steer(ctx, "pause", "paused: the writer has confirmed it", "", api.TagText{})
}

func (s *resumeRecording) Run(ctx context.Context) error {
	return s.steer(ctx, "resume", "resumed", "", api.TagText{})
}

func (s *stopRecording) Run(ctx context.Context) error {
	return s.steer(ctx, "stop", "stopped: what there is is kept", s.Reason, api.TagText{})
}

func (s *discardRecording) Run(ctx context.Context) error {
	return s.steer(ctx, "discard", "discarded: what there was is being destroyed", s.Reason, api.TagText{})
}

func (s *tagRecording) Run(ctx context.Context) error {
	return s.steer(ctx, "tag", "noted", "", api.TagText{Name: s.Name, Text: s.Text})
}

// Help is kong's.
func (discardRecording) Help() string {
	return `What is under legal hold is not discarded: release the hold first, or stop the recording. A party who objects by key is heeded all the same.`
}

// steer takes to the calls what is asked of one.
func (d *daemon) steer(ctx context.Context, id, what, by string, tag api.TagText) error {
	err := d.calls.Steer(ctx, id, call.Command{Kind: call.CommandKind(what), By: by, Tag: [2]string{tag.Name, tag.Text}, Purpose: tag.Purpose})
	for refusal, status := range map[error]int{
		call.ErrNoCall: http.StatusNotFound, call.ErrForbidden: http.StatusForbidden, call.ErrTag: http.StatusBadRequest,
		call.ErrConflict: http.StatusConflict, call.ErrUnfit: http.StatusConflict, call.ErrNotRecorded: http.StatusConflict,
	} {
		if errors.Is(err, refusal) {
			return &api.Refused{Status: status, Err: err}
		}
	}
	return err
}
