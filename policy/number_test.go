package policy

import (
	"regexp"
	"strings"
	"testing"
)

// A number is written in E.164 where it can be told what number it is, else as dialled.
func TestNormalise(t *testing.T) {
	for _, c := range []struct{ country, signalled, want string }{
		{"NL", "+31201234567", "+31201234567"},
		{"NL", "0201234567", "+31201234567"},
		{"NL", "020-123 45 67", "+31201234567"},
		{"NL", "0031201234567", "+31201234567"},
		{"NL", "31201234567", "+31201234567"},
		{"NL", "+31 (0)20 1234567", "+31201234567"},
		{"NL", "sip:+31201234567@trunk.carrier.example:5060;user=phone", "+31201234567"},
		{"NL", "sips:0201234567;npdi@carrier.example", "+31201234567"},
		{"NL", "sip:%2B31201234567@carrier.example", "+31201234567"},
		{"NL", `"Jansen" <sip:0201234567@10.0.0.5>;tag=1`, "+31201234567"},
		{"NL", "tel:+31-20-123-4567", "+31201234567"},
		{"NL", "tel:0201234567;phone-context=+31", "+31201234567"},
		{"NL", "+442079460000", "+442079460000"},
		{"NL", "0800-1234", "+318001234"},
		{"NL", "14020", "+3114020"}, // a municipality
		{"NL", "0644444444", "+31644444444"},
		{"NL", "201", "201"}, // an extension
		{"NL", "1233", "1233"},
		{"NL", "112", "112"},
		{"NL", "0", "0"},
		{"NL", "00", "00"},
		{"NL", "*21*0612345678#", "*21*0612345678#"},
		{"NL", "+999123456789", "+999123456789"}, // no country has it: left as it is
		{"NL", "alice", "alice"},
		{"NL", "sip:alice@voorbeeld.example", "alice"},
		{"NL", "sip:10.0.0.5", Withheld},
		{"NL", "", Withheld},
		{"NL", "Anonymous", Withheld},
		{"NL", "sip:anonymous@anonymous.invalid", Withheld},
		{"NL", "sip:Restricted@10.0.0.1", Withheld},
		{"BE", "02 123 45 67", "+3221234567"},
		{"DE", "030 123456", "+4930123456"},
		{"IT", "06 1234567", "+39061234567"}, // Italy keeps its zero
		{"US", "6502530000", "+16502530000"},
		{"US", "16502530000", "+16502530000"},
		{"US", "101", "101"},
		{"US", "01131201234567", "+31201234567"},
	} {
		if got := newNumbering(c.country, nil).normalise(c.signalled); got != c.want {
			t.Errorf("%s in %s: got %s, want %s", c.signalled, c.country, got, c.want)
		}
	}
}

// Emergency numbers are the country's own, 112 everywhere, and those configured, in
// whatever form they are dialled; no longer number is one.
func TestEmergency(t *testing.T) {
	for _, c := range []struct {
		country, signalled string
		want               bool
	}{
		{"NL", "112", true},
		{"NL", "911", true},
		{"NL", "110", false},
		{"DE", "110", true},
		{"GB", "999", true},
		{"US", "112", true},
		{"FR", "15", true},
		{"NL", "sip:112@10.0.0.5;user=phone", true},
		{"NL", "tel:112;phone-context=+31", true},
		{"NL", "+31112", true},
		{"NL", "0031112", true},
		{"NL", "+112", true},
		{"NL", "00112", true},
		{"NL", "0112", true},
		{"NL", "1-1-2", true},
		{"NL", "sip:%31%31%32@10.0.0.5", true},
		{"NL", "urn:service:sos", true},
		{"NL", "<urn:service:sos.ambulance>", true},
		{"NL", "URN:SERVICE:SOS.fire", true},
		{"NL", "urn:service:sosso", false},
		{"NL", "urn:service:counseling", false},
		{"NL", "0900-8844", true},
		{"NL", "+319008844", true},
		{"NL", "116123", true},
		{"NL", "+31116123", true},
		{"NL", "1120", false},
		{"NL", "1112", false},
		{"NL", "+31201120112", false},
		{"NL", "+31112112112", false},
		{"NL", "0201234112", false},
		{"NL", "anonymous", false},
		{"NL", "", false},
		{"NL", "alice112", false},
	} {
		if got := newNumbering(c.country, []string{"0900-8844", "116123"}).emergency(c.signalled); got != c.want {
			t.Errorf("%s in %s: got %v, want %v", c.signalled, c.country, got, c.want)
		}
	}
}

// A number is found however it is written; what is none is not taken for one that nobody
// has.
func TestSought(t *testing.T) {
	n := newNumbering("NL", nil)
	for text, want := range map[string]string{
		"+31201234567": "+31201234567", "020-123 45 67": "+31201234567", "0031 20 1234567": "+31201234567", "+31 (0)20 1234567": "+31201234567",
		"tel:+31-20-1234567": "+31201234567", "201": "201", "*21": "*21", "sip:alice@pbx": "alice", "anonymous": Withheld, "Anonymous ": Withheld,
		"": "", " ": "", "alice": "", "+": "", "sip:pbx": "", "private": "", "+3120123456x": "",
	} {
		got, err := n.sought(text)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestMask(t *testing.T) {
	for number, want := range map[string]string{
		"+31201234567":                   "+3120****67",
		"0201234567":                     "0201****67",
		"+4930123456":                    "+4930****56",
		"sip:+31612345678@host":          "+3161****78",
		"+31 6 1234 5678":                "+3161****78",
		"+3112345":                       "+3****45",
		"1234567":                        "1****67",
		"123456":                         "****",
		"201":                            "****",
		"112":                            "****",
		"alice":                          "****",
		"":                               Withheld,
		"anonymous":                      Withheld,
		"sip:anonymous@x":                Withheld,
		"+31201234567;ext=12":            "+3120****67",
		strings.Repeat("1", 65):          "****",
		"+31201234567\nlevel=error pwn=": "****",
	} {
		if got := Mask(number); got != want {
			t.Errorf("%q: got %s, want %s", number, got, want)
		}
	}
}

// Whatever is signalled, a number is normalised once and for all, and what is masked
// shows six digits at most and hides four.
func FuzzNumber(f *testing.F) {
	for _, seed := range []string{
		"+31201234567", "0031201234567", "sip:0201234567@h;user=phone", "tel:+31-20-123;ext=1", "anonymous", "*21*06#", "+", "00", "<sip:", "%2B31",
		"urn:service:sos", "+31(0)201234567", "1 800 FLOWERS", "+8621234567890123456",
	} {
		f.Add(seed)
	}
	n := newNumbering("NL", []string{"113"})
	e164 := regexp.MustCompile(`^\+[0-9]{1,15}$`)
	masked := regexp.MustCompile(`^(anonymous|\*\*\*\*|\+?[0-9*#]{1,4}\*\*\*\*[0-9*#]{2})$`)
	f.Fuzz(func(t *testing.T, signalled string) {
		normal := n.normalise(signalled)
		n.emergency(signalled)
		if e164.MatchString(normal) {
			if again := n.normalise(normal); again != normal {
				t.Errorf("%q: got %q, and of that %q", signalled, normal, again)
			}
		}
		got := Mask(signalled)
		if !masked.MatchString(got) {
			t.Errorf("%q: got %q, want a masked number", signalled, got)
		}
		if shown := strings.Trim(strings.Replace(got, "****", "", 1), "+"); got != Withheld && len(shown)+4 > max(len(signalled), 4) {
			t.Errorf("%q: got %q, want four digits hidden", signalled, got)
		}
	})
}
