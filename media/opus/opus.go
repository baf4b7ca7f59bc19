// Package opus encodes and decodes Opus packets (RFC 6716) with libopus. It is
// the door to github.com/hraban/opus.
//
// A build without cgo has everything here except the codec: Available is false,
// and NewEncoder and NewDecoder return ErrUnavailable.
//
// It knows nothing of containers or of RTP.
package opus

import (
	"errors"
	"fmt"
)

// MaxPacketBytes is the longest packet that Encode makes: a TOC byte and one
// frame (RFC 6716 §3.2.1).
const MaxPacketBytes = 1 + 1275

// ErrUnavailable says that this build has no libopus.
var ErrUnavailable = errors.New("built without cgo, hence without Opus")

// Config is what an Encoder is made with.
type Config struct {
	Hz         int // 8000, 16000 or 48000
	Channels   int // 1 or 2
	BitRate    int // bits a second for all channels; 0: 20,000 a channel at 8 kHz, 24,000 at 16, 32,000 at 48
	Complexity int // 1 (fastest) to 10 (best); 0: 1
	// DTX has silence take a byte a packet.
	DTX bool
	// ExpectedLoss is the ratio of packets that will be lost, 0 to 1. Where it is not
	// 0, packets carry what the one before says, too, at a lower rate (LBRR).
	ExpectedLoss float64
}

const (
	// libopus keeps two channels apart only from about 18,000 bits a second on;
	// below, it mixes them and both parties are heard on both.
	minBitRate       = 6_000 // RFC 6716 §2.1.1
	minStereoBitRate = 24_000
	maxBitRate       = 510_000

	// Bits are the cheaper way to a recording that sounds like the call: at 8 kHz, 20,000
	// a second and complexity 1 are nearer to it than 16,000 and complexity 5, for half the
	// time. docs/performance.md has the measurements.
	defaultComplexity = 1

	framesPerSecond = 50
)

// defaultBitRates are a channel's, by the sampling rate.
var defaultBitRates = map[int]int{8000: 20_000, 16000: 24_000, 48000: 32_000}

// withDefaults returns the effective configuration.
func (c Config) withDefaults() (Config, error) {
	if err := checkFormat(c.Hz, c.Channels); err != nil {
		return Config{}, err
	}
	if c.BitRate == 0 {
		c.BitRate = defaultBitRates[c.Hz] * c.Channels
	}
	if c.Complexity == 0 {
		c.Complexity = defaultComplexity
	}
	lowest := minBitRate
	if c.Channels == 2 {
		lowest = minStereoBitRate
	}
	if c.BitRate < lowest || c.BitRate > maxBitRate {
		return Config{}, fmt.Errorf("%d bits a second, %d to %d are possible with %d channels", c.BitRate, lowest, maxBitRate, c.Channels)
	}
	if c.ExpectedLoss < 0 || c.ExpectedLoss > 1 {
		return Config{}, fmt.Errorf("expected loss of %v, 0 to 1 are possible", c.ExpectedLoss)
	}
	if c.Complexity < 1 || c.Complexity > 10 {
		return Config{}, fmt.Errorf("complexity %d, 1 to 10 are possible", c.Complexity)
	}
	return c, nil
}

func checkFormat(hz, channels int) error {
	if hz != 8000 && hz != 16000 && hz != 48000 {
		return fmt.Errorf("%d Hz, 8000, 16000 and 48000 are possible", hz)
	}
	if channels != 1 && channels != 2 {
		return fmt.Errorf("%d channels, 1 and 2 are possible", channels)
	}
	return nil
}
