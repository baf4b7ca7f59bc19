package policy

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// Withheld is how a caller is written who does not say his number.
const Withheld = "anonymous"

// maxDigits is the longest number there is, in digits (ITU-T E.164 §6.2.1).
const maxDigits = 15

// numbering reads numbers as they are written in one country.
type numbering struct {
	country string   // ISO 3166-1 alpha-2
	prefix  string   // what national numbers are dialled with, 0 in most of Europe; may be empty
	code    string   // the country's own code with its plus: +31
	added   []string // emergency numbers besides the country's own
}

func newNumbering(country string, emergency []string) numbering {
	n := numbering{
		country: country,
		prefix:  phonenumbers.GetNddPrefixForRegion(country, true),
		code:    "+" + strconv.Itoa(phonenumbers.GetCountryCodeForRegion(country)),
	}
	for _, number := range emergency {
		n.added = append(n.added, n.normalise(number))
	}
	return n
}

// normalise writes a number as E.164 does, +31201234567, where it can be told that it
// is one: it has a plus or the international prefix, or the national prefix, or it is
// a number of this country's plan. Others, such as extensions, 1233 and *21, stay as
// dialled. Withheld stands for nobody, and names stay names.
func (n numbering) normalise(signalled string) string {
	user := userPart(signalled)
	switch strings.ToLower(user) {
	case "", "anonymous", "restricted", "unavailable", "unknown", "withheld", "private":
		return Withheld
	}
	dialled, ok := dialledDigits(user)
	if !ok {
		return user
	}
	parsed, err := phonenumbers.ParseAndKeepRawInput(dialled, n.country)
	if err != nil {
		return dialled
	}
	switch parsed.GetCountryCodeSource() {
	case phonenumbers.PhoneNumber_FROM_NUMBER_WITH_PLUS_SIGN, phonenumbers.PhoneNumber_FROM_NUMBER_WITH_IDD:
	default:
		national := n.prefix != "" && strings.HasPrefix(dialled, n.prefix) && phonenumbers.IsPossibleNumber(parsed)
		if !national && !phonenumbers.IsValidNumber(parsed) {
			return dialled
		}
	}
	e164 := phonenumbers.Format(parsed, phonenumbers.E164)
	if len(e164) > 1+maxDigits {
		return dialled
	}
	// Of 0000001 a zero would go each time it is read: no number.
	if again, err := phonenumbers.Parse(e164, n.country); err != nil || phonenumbers.Format(again, phonenumbers.E164) != e164 {
		return dialled
	}
	return e164
}

// Elsewhere is how a country is written that cannot be told from the number: it is withheld,
// internal, of no country (+800), or not in E.164.
const Elsewhere = "unknown"

// countryOf tells whose a normalised number is, as ISO 3166-1 writes countries in two letters.
func (n numbering) countryOf(number string) string {
	if !strings.HasPrefix(number, "+") {
		return Elsewhere
	}
	parsed, err := phonenumbers.Parse(number, n.country)
	if err != nil {
		return Elsewhere
	}
	region := phonenumbers.GetRegionCodeForNumber(parsed)
	if region == "" || !IsCountry(region) {
		return Elsewhere
	}
	return region
}

// IsCountry reports whether that is a country in two capitals, as ISO 3166-1 has them.
func IsCountry(code string) bool { return len(code) == 2 && phonenumbers.GetSupportedRegions()[code] }

// whole reports whether digits with a plus before them are not too few for a number.
func (n numbering) whole(dialled string) bool {
	parsed, err := phonenumbers.Parse(dialled, n.country)
	return err == nil && phonenumbers.IsPossibleNumberWithReason(parsed) != phonenumbers.TOO_SHORT
}

// hasCode reports whether international numbers may begin with digits: a country code, what
// one begins with, or one with more behind it.
func hasCode(digits string) bool {
	for code := range phonenumbers.GetSupportedCallingCodes() {
		if text := strconv.Itoa(code); strings.HasPrefix(text, digits) || strings.HasPrefix(digits, text) {
			return true
		}
	}
	return false
}

// emergency reports whether that is an emergency number here: one of the country's, one
// of the configuration's, 112 everywhere, or the service URI for it (RFC 5031 §4.2). A
// country code, a plus, or a 0 for an outside line before it, as some PBXs send, changes
// nothing: no subscriber has such a number.
func (n numbering) emergency(signalled string) bool {
	if service := strings.ToLower(strings.Trim(signalled, "<> ")); service == "urn:service:sos" || strings.HasPrefix(service, "urn:service:sos.") {
		return true
	}
	dialled, ok := dialledDigits(userPart(signalled))
	if !ok {
		return false
	}
	normal := n.normalise(dialled)
	if slices.Contains(n.added, normal) {
		return true
	}
	for _, short := range []string{
		dialled, strings.TrimPrefix(dialled, "0"), strings.TrimPrefix(normal, "+"), strings.TrimPrefix(normal, n.code),
	} {
		if short == "112" || phonenumbers.IsEmergencyNumber(short, n.country) || slices.Contains(n.added, short) {
			return true
		}
	}
	return false
}

// sought reads a number that somebody looks for, and writes it as normalise does: a
// question that is no number finds nothing, which reads as if nothing were there. Names
// are looked for as a URI, sip:alice@pbx, and callers without a number as anonymous.
func (n numbering) sought(text string) (string, error) {
	normal := n.normalise(text)
	_, dialled := dialledDigits(normal)
	switch {
	case strings.EqualFold(strings.TrimSpace(text), Withheld), dialled:
		return normal, nil
	case normal != Withheld && strings.HasPrefix(strings.ToLower(strings.TrimLeft(text, " <")), "sip"):
		return normal, nil
	}
	return "", fmt.Errorf("%q is no number such as +31201234567 or 020-1234567, nor %s, nor sip:NAME@HOST", text, Withheld)
}

// userPart takes what identifies the party out of a URI: the user of sip:user@host, the
// number of tel:number;parameters (RFC 3261 §19.1.1, RFC 3966 §3). What is no URI is
// the user itself.
func userPart(signalled string) string {
	s := strings.TrimSpace(signalled)
	if _, rest, ok := strings.Cut(s, "<"); ok { // "Name" <sip:user@host>
		s, _, _ = strings.Cut(rest, ">")
	}
	scheme, rest, ok := strings.Cut(s, ":")
	switch {
	case !ok:
	case strings.EqualFold(scheme, "sip"), strings.EqualFold(scheme, "sips"):
		user, _, found := strings.Cut(rest, "@")
		if !found {
			return "" // a host alone names nobody
		}
		s, _, _ = strings.Cut(user, ":") // a password
	case strings.EqualFold(scheme, "tel"):
		s = rest
	default:
		return s
	}
	s, _, _ = strings.Cut(s, "@")
	s, _, _ = strings.Cut(s, ";")
	if plain, err := url.PathUnescape(s); err == nil {
		s = plain
	}
	return strings.TrimSpace(s)
}

// dialledDigits strips a number of what only helps the eye (RFC 3966 §5.1.1), and of the
// national prefix in brackets, +31 (0)20. It reports whether digits were left: with a
// plus before them perhaps, and * and # among them.
func dialledDigits(user string) (string, bool) {
	if len(user) > 64 {
		return "", false
	}
	user = strings.TrimSpace(user)
	if strings.HasPrefix(user, "+") || strings.HasPrefix(user, "00") {
		user = strings.Replace(user, "(0)", "", 1)
	}
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -.()/", r) {
			return -1
		}
		return r
	}, user)
	bare := strings.TrimPrefix(digits, "+")
	return digits, bare != "" && strings.Trim(bare, "0123456789*#") == ""
}

// Mask writes a number for a log: +3120****67. Of a number shown, at least four digits
// are missing; short numbers and names are wholly hidden.
func Mask(number string) string {
	user := userPart(number)
	if user == "" || strings.EqualFold(user, Withheld) {
		return Withheld
	}
	const hidden = "****"
	digits, ok := dialledDigits(user)
	bare := strings.TrimPrefix(digits, "+")
	shown := min(len(bare)-6, 4)
	if !ok || shown < 1 {
		return hidden
	}
	return digits[:len(digits)-len(bare)+shown] + hidden + bare[len(bare)-2:]
}
