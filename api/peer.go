package api

import (
	"context"
	"net"
	"net/http"

	"github.com/bewaard/bewaard/store"
)

// peerKey is where a request's context has who asks.
type peerKey struct{}

// withPeer keeps with a connection over the socket whose process is at its other end.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, peerOf(conn))
}

// act is who asks, as the kernel says, and why, as he says.
func act(r *http.Request) store.Act {
	peer, _ := r.Context().Value(peerKey{}).(string) // "" is nobody: the store refuses it
	return store.Act{Actor: peer, Reason: r.URL.Query().Get("reason")}
}
