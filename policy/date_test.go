package policy

import "testing"

func TestDate(t *testing.T) {
	var d Date
	if err := d.UnmarshalText([]byte("2028-02-29")); err != nil || d != (Date{2028, 2, 29}) || d.String() != "2028-02-29" {
		t.Errorf("got %+v, %v, want 2028-02-29", d, err)
	}
	for _, text := range []string{"", "2027-02-29", "29-02-2028", "2028-2-9", "2028-02-29T00:00:00Z"} {
		if got, err := ParseDate(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}
