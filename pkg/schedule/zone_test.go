package schedule_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/schedule"
)

func TestZone(t *testing.T) {
	for _, c := range []struct{ zone, culture, want string }{
		{"", "", "Europe/London"},
		{"Europe/Paris", "", "Europe/Paris"},
		{"Asia/Tokyo", "fr-FR", "Asia/Tokyo"},
		{"GB", "", "GB"},
		{"UTC", "", "UTC"},
	} {
		if got, err := schedule.Zone(c.zone, c.culture); err != nil || got != c.want {
			t.Errorf("%q, %q: got %q, %v", c.zone, c.culture, got, err)
		}
	}
	for culture, want := range map[string]string{
		"fr-FR": "Europe/Paris", "en-US": "America/New_York", "en-GB": "Europe/London", "de-DE": "Europe/Berlin", "it-IT": "Europe/Rome",
		"es-ES": "Europe/Madrid", "nl-NL": "Europe/Amsterdam", "pt-PT": "Europe/Lisbon", "pt-BR": "America/Sao_Paulo", "ja-JP": "Asia/Tokyo",
		"zh-CN": "Asia/Shanghai", "en-IN": "Asia/Kolkata", "hi-IN": "Asia/Kolkata", "pl-PL": "Europe/Warsaw", "SV-se": "Europe/Stockholm", "fr_ca": "America/Toronto",
	} {
		if got, err := schedule.Zone("", culture); err != nil || got != want {
			t.Errorf("%s: got %q, %v", culture, got, err)
		}
	}
}

func TestZoneProblems(t *testing.T) {
	for _, c := range []struct{ zone, culture, want string }{
		{"Europe/Pariss", "", `time zone "Europe/Pariss" is not in the IANA database, whose names are such as Europe/Paris`},
		{"Local", "", `time zone "Local" is not in the IANA database, whose names are such as Europe/Paris`},
		{"../../etc/passwd", "", `time zone "../../etc/passwd" is not in the IANA database, whose names are such as Europe/Paris`},
		{"", "tlh-KX", `culture "tlh-KX" has no zone here: write TimeZoneID with a zone of the IANA database, such as Europe/Paris`},
	} {
		if got, err := schedule.Zone(c.zone, c.culture); err == nil || err.Error() != c.want {
			t.Errorf("%q, %q: got %q, %v", c.zone, c.culture, got, err)
		}
	}
}

// TestZonesOfCulturesExist: a spelling mistake in the table would be an annotation that is refused.
func TestZonesOfCulturesExist(t *testing.T) {
	zones := schedule.ZonesOfCultures()
	if len(zones) < 40 {
		t.Fatalf("only %d cultures", len(zones))
	}
	for _, culture := range slices.Sorted(maps.Keys(zones)) {
		if _, err := time.LoadLocation(zones[culture]); err != nil {
			t.Errorf("%s: %v", culture, err)
		}
	}
}
