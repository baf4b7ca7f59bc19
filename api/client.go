package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"syscall"

	"github.com/bewaard/bewaard/store"
)

// Client asks a running daemon over its socket.
type Client struct {
	http   http.Client
	socket string
}

// ErrNoDaemon is wrapped when nobody listens on the socket.
var ErrNoDaemon = errors.New("no daemon is running there")

// Dial makes a client for the daemon that has that store. It connects when asked.
func Dial(directory string) *Client {
	c := &Client{socket: filepath.Join(directory, SocketName)}
	c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", c.socket)
	}}
	return c
}

// Calls returns a page of rows.
func (c *Client) Calls(ctx context.Context, q store.Query) (page Page, err error) {
	return page, c.decode(ctx, http.MethodGet, "calls?"+EncodeQuery(q).Encode(), &page)
}

// Call returns one row.
func (c *Client) Call(ctx context.Context, id string) (row store.Row, err error) {
	return row, c.decode(ctx, http.MethodGet, "calls/"+url.PathEscape(id), &row)
}

// Forecast tells what a sweep would destroy now.
func (c *Client) Forecast(ctx context.Context) (f store.Forecast, err error) {
	return f, c.decode(ctx, http.MethodGet, "sweep", &f)
}

// Sweep destroys what is due now.
func (c *Client) Sweep(ctx context.Context) (r store.SweepResult, err error) {
	return r, c.decode(ctx, http.MethodPost, "sweep", &r)
}

// ConfirmClock says that the clock is right and that what is due may go.
func (c *Client) ConfirmClock(ctx context.Context, reason string) error {
	return c.decode(ctx, http.MethodPost, "sweep/confirm?"+because(reason), &struct{}{})
}

// because is a reason as a request's parameter. Who asks, the daemon knows by itself.
func because(reason string) string { return url.Values{"reason": {reason}}.Encode() }

// Journal returns a page of the journal.
func (c *Client) Journal(ctx context.Context, q store.JournalQuery) (page JournalPage, err error) {
	return page, c.decode(ctx, http.MethodGet, "journal?"+EncodeJournalQuery(q).Encode(), &page)
}

// Certificate returns the signed certificate that a recording is gone.
func (c *Client) Certificate(ctx context.Context, id string) ([]byte, error) {
	body, err := c.do(ctx, http.MethodGet, "certificates/"+url.PathEscape(id))
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

func (c *Client) decode(ctx context.Context, method, path string, v any) error {
	return c.send(ctx, method, path, nil, v)
}

// send decodes the answer to a request with that body.
func (c *Client) send(ctx context.Context, method, path string, body []byte, v any) error {
	res, err := c.ask(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(v)
}

// Recording returns what was recorded in that format, or in the one there is where format is
// "", to be read and closed, and its name; sealed, as it lies on the disk.
func (c *Client) Recording(ctx context.Context, id, format, reason string, sealed bool) (file io.ReadCloser, name string, err error) {
	path := "recordings/" + url.PathEscape(id)
	if format != "" {
		path += "/" + format
	}
	query := because(reason)
	if sealed {
		query += "&sealed=true"
	}
	return c.download(ctx, path+"?"+query)
}

// download returns a file that is answered, to be read and closed, and its name.
func (c *Client) download(ctx context.Context, path string) (file io.ReadCloser, name string, err error) {
	res, err := c.ask(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, "", err
	}
	_, disposition, err := mime.ParseMediaType(res.Header.Get("Content-Disposition"))
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("ask %s: name of the file: %w", c.socket, err), res.Body.Close())
	}
	return res.Body, filepath.Base(disposition["filename"]), nil
}

// post sends something and wants no more back than that it was done.
func (c *Client) post(ctx context.Context, path string, body any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	res, err := c.ask(ctx, http.MethodPost, path, text)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func (c *Client) do(ctx context.Context, method, path string) (io.ReadCloser, error) {
	res, err := c.ask(ctx, method, path, nil)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// ask returns an answer that is a good one.
func (c *Client) ask(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://bewaard/api/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("ask %s: %w", c.socket, ErrNoDaemon)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: permission denied: ask as the daemon's user or root", c.socket)
	case err != nil:
		return nil, fmt.Errorf("ask %s: %w", c.socket, err)
	case res.StatusCode == http.StatusOK:
		return res, nil
	}
	defer res.Body.Close()
	var p Problem
	if err := json.NewDecoder(res.Body).Decode(&p); err != nil || p.Error == "" {
		return nil, fmt.Errorf("ask %s: %s", c.socket, res.Status)
	}
	return nil, errors.New(p.Error)
}
