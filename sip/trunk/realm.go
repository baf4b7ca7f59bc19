package trunk

import (
	"fmt"
	"sync"

	"github.com/bewaard/bewaard/sip"
)

// realms are those that challenged us, by trunk. Who sees the answer to a challenge may guess
// the password by it at leisure: an operator is to know who that was, once.
type realms struct {
	mu   sync.Mutex
	told map[realm]bool
}

type realm struct{ trunk, name string }

// maxRealms is how many are told of: a trunk has one or two.
const maxRealms = 64

// fresh reports whether a realm is to be told of.
func (r *realms) fresh(trunk, name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := realm{trunk, name}
	if r.told[k] || len(r.told) >= maxRealms {
		return false
	}
	r.told[k] = true
	return true
}

// Credentials meet the challenges of a trunk's peers; nil where it has no auth.
func (d *Directory) Credentials(trunk string) *sip.Credentials {
	auth := d.trunks[trunk].Auth
	if auth == nil {
		return nil
	}
	return &sip.Credentials{
		User: auth.User, Password: auth.Secret, Realm: auth.Realm,
		Heard: func(name string, met bool) {
			name = fmt.Sprintf("%.80s", name) // the peer's, of any length
			switch {
			case !d.realms.fresh(trunk, name):
			case !met:
				d.parts.Log.Warn("challenge of another realm than auth.realm not answered", "trunk", trunk, "realm", name)
			case auth.Realm == "":
				d.parts.Log.Info("challenge answered, with no auth.realm set", "trunk", trunk, "realm", name)
			}
		},
	}
}
