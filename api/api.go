// Package api is how people and machines outside ask the daemon: metrics and health
// over HTTP, and over a Unix socket beside the store the rows and recordings, for
// the command line, while the daemon holds the database.
//
// It knows nothing of SIP or RTP.
//
//	Prometheus ─ http.listen ─▶ /metrics /healthz /readyz
//	bewaard … ─ bewaard.sock ─▶ the same, and /api/v1/…
//
// Who may open the socket decides who may ask: it has the mode 0600. Rows name
// people, so they are not served where nobody is asked who he is.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/bewaard/bewaard/store"
)

// SocketName is the Unix socket's name in the store's directory.
const SocketName = "bewaard.sock"

// Config is the file's http section.
type Config struct {
	// Listen is where metrics and health are served. Default: 127.0.0.1:8080.
	Listen netip.AddrPort `yaml:"listen"`
}

func (c Config) withDefaults() Config {
	if !c.Listen.IsValid() {
		c.Listen = netip.MustParseAddrPort("127.0.0.1:8080")
	}
	return c
}

// Try opens and closes the section's socket and reports it where this machine does not give
// it, with the key below http.
func (c Config) Try() []error {
	l, err := c.withDefaults().open()
	if err != nil {
		return []error{err}
	}
	l.Close()
	return nil
}

// open opens the section's socket; its error has the key below http.
func (c Config) open() (net.Listener, error) {
	l, err := net.Listen("tcp", c.Listen.String())
	if err != nil {
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			err = errno // without the address once more
		}
		return nil, fmt.Errorf("listen: %v: %w", c.Listen, err)
	}
	return l, nil
}

// Parts are what the server tells of.
type Parts struct {
	Store    *store.Store
	Sweeper  *store.Sweeper
	Gatherer prometheus.Gatherer
	Ready    func() error // nil while calls are taken, else why not
	// Number writes a number that is asked for as the rows have it.
	Number func(string) (string, error)
	// Purposes are those of the configuration; rows may have others of an earlier one.
	Purposes func() []string
	// Reload reads the configuration anew; its error says what is wrong with that.
	Reload func(context.Context) (Reloaded, error)
	// Select makes a row one that is kept for a further purpose, Withdraw one that is kept for
	// a purpose no longer. Their errors are ErrUnfit where there is a reason not to.
	Select, Withdraw func(row *store.Row, purpose string) error
	// Steer does something to the recording of a call that is up, for who asked: one of
	// Steering. Its error is a Refused where there is a reason not to.
	Steer func(ctx context.Context, id, what, by string, tag TagText) error
	Log   *slog.Logger
}

// Server answers over HTTP and over the socket.
type Server struct {
	parts    Parts
	public   *http.Server
	private  *http.Server
	serving  sync.WaitGroup
	listener net.Listener
	socket   net.Listener
}

// New opens the listener and the socket; Serve answers on them.
func New(cfg Config, parts Parts) (*Server, error) {
	cfg = cfg.withDefaults()
	s := &Server{parts: parts}
	public := http.NewServeMux()
	public.Handle("GET /metrics", promhttp.HandlerFor(parts.Gatherer, promhttp.HandlerOpts{}))
	public.HandleFunc("GET /healthz", s.health)
	public.HandleFunc("GET /readyz", s.ready)
	private := http.NewServeMux()
	private.Handle("/", public)
	private.HandleFunc("GET /api/v1/calls", s.listCalls)
	private.HandleFunc("GET /api/v1/calls/{id}", s.showCall)
	private.HandleFunc("POST /api/v1/calls/{id}/{what}", s.steer)
	private.HandleFunc("GET /api/v1/recordings/{id}", s.exportRecording)
	private.HandleFunc("POST /api/v1/recordings/{id}/select", s.selectRecording)
	private.HandleFunc("POST /api/v1/recordings/{id}/withdraw", s.withdrawRecording)
	private.HandleFunc("GET /api/v1/recordings/{id}/{format}", s.exportRecording)
	private.HandleFunc("GET /api/v1/prompts", s.listPrompts)
	private.HandleFunc("GET /api/v1/prompts/{sha256}", s.showPrompt)
	private.HandleFunc("GET /api/v1/prompts/{sha256}/audio", s.exportPrompt)
	private.HandleFunc("POST /api/v1/reload", s.reload)
	private.HandleFunc("GET /api/v1/sweep", s.forecastSweep)
	private.HandleFunc("POST /api/v1/sweep", s.sweep)
	private.HandleFunc("POST /api/v1/sweep/confirm", s.confirmClock)
	private.HandleFunc("GET /api/v1/legal-holds", s.listHolds)
	private.HandleFunc("POST /api/v1/legal-holds", s.layHold)
	private.HandleFunc("DELETE /api/v1/legal-holds/{id}", s.releaseHold)
	private.HandleFunc("POST /api/v1/snapshot", s.snapshot)
	private.HandleFunc("POST /api/v1/compact", s.compact)
	private.HandleFunc("GET /api/v1/journal", s.listJournal)
	private.HandleFunc("GET /api/v1/certificates/{id}", s.showCertificate)
	s.public, s.private = newHTTP(public), newHTTP(private)
	s.private.ConnContext = withPeer
	return s, s.listen(cfg)
}

func newHTTP(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
}

func (s *Server) listen(cfg Config) (err error) {
	if s.listener, err = cfg.open(); err != nil {
		return fmt.Errorf("http.%w", err)
	}
	name := filepath.Join(s.parts.Store.Directory(), SocketName)
	// The store's lock is ours, so a socket that is there is a dead daemon's.
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Join(fmt.Errorf("remove old socket: %w", err), s.listener.Close())
	}
	if s.socket, err = net.Listen("unix", name); err == nil {
		err = os.Chmod(name, 0o600) // the directory is 0700, so nobody was let in before
	}
	if err != nil {
		return errors.Join(fmt.Errorf("listen on %s: %w", name, err), s.listener.Close())
	}
	return nil
}

// Addr returns where HTTP is served.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve answers until Close.
func (s *Server) Serve() {
	for server, listener := range map[*http.Server]net.Listener{s.public: s.listener, s.private: s.socket} {
		s.serving.Go(func() { // ends at Close
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				s.parts.Log.Error("http server stopped", "addr", listener.Addr(), "error", err)
			}
		})
	}
}

// Close lets answers that are being given end, for as long as the context lasts.
func (s *Server) Close(ctx context.Context) error {
	err := errors.Join(s.public.Shutdown(ctx), s.private.Shutdown(ctx))
	s.serving.Wait()
	return err
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if err := s.parts.Ready(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}
