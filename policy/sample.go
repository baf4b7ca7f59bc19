package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Share is a part of all, in hundredths of a percent. The zero Share is all.
type Share int

const everyCall Share = 100_00

// ParseShare reads a percentage: 10%, 0.5%, 33.33%.
func ParseShare(text string) (Share, error) {
	fault := fmt.Errorf("%.40q is not a share such as 10%% or 0.5%%, above 0%% and at most 100%%", text)
	number, ok := strings.CutSuffix(text, "%")
	whole, part, dotted := strings.Cut(strings.TrimSpace(number), ".")
	if !ok || whole == "" || len(whole) > 3 || dotted && part == "" || len(part) > 2 || strings.Trim(whole+part, "0123456789") != "" {
		return 0, fault
	}
	n, err := strconv.Atoi(whole + (part + "00")[:2])
	if s := Share(n); err == nil && s > 0 && s <= everyCall {
		return s, nil
	}
	return 0, fault
}

// String writes what ParseShare reads; the zero Share is 100%.
func (s Share) String() string {
	if s == 0 {
		s = everyCall
	}
	text := strconv.Itoa(int(s / 100))
	if s%100 != 0 {
		text += strings.TrimRight(fmt.Sprintf(".%02d", s%100), "0")
	}
	return text + "%"
}

// UnmarshalText reads what ParseShare reads.
func (s *Share) UnmarshalText(text []byte) error {
	parsed, err := ParseShare(string(text))
	if err == nil {
		*s = parsed
	}
	return err
}

// MarshalText writes what String writes.
func (s Share) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// takes reports whether a call is in the sample: always the same of one id, on every machine,
// and no call's fate tells another's.
func (s Share) takes(id string) bool {
	if s == 0 {
		return true
	}
	sum := sha256.Sum256([]byte(id))
	return id != "" && binary.BigEndian.Uint64(sum[:])%uint64(everyCall) < uint64(s)
}
