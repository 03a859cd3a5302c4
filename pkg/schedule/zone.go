package schedule

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// StandardZone holds where a schedule names no zone, as in SlimFaas.
const StandardZone = "Europe/London"

// Zone is the name of the zone that is meant by a zone of the IANA database or, where that is empty, by a culture such as fr-FR, in any
// case; StandardZone where both are empty.
func Zone(timeZoneID, culture string) (string, error) {
	switch {
	case timeZoneID == "" && culture == "":
		return StandardZone, nil
	case timeZoneID == "":
		return zoneOfCulture(culture)
	}
	if _, err := load(timeZoneID); err != nil {
		return "", fmt.Errorf("time zone %.60q is not in the IANA database, whose names are such as Europe/Paris", timeZoneID)
	}
	return timeZoneID, nil
}

func zoneOfCulture(culture string) (string, error) {
	zone, known := zones[strings.ReplaceAll(strings.ToLower(culture), "_", "-")]
	if !known {
		return "", fmt.Errorf("culture %.60q has no zone here: write TimeZoneID with a zone of the IANA database, such as Europe/Paris", culture)
	}
	return zone, nil
}

// zones has one zone for each culture; where a country has several, it is that of its largest city or capital.
var zones = map[string]string{
	"ar-ae": "Asia/Dubai", "ar-eg": "Africa/Cairo", "ar-ma": "Africa/Casablanca", "ar-sa": "Asia/Riyadh",
	"bg-bg": "Europe/Sofia", "ca-es": "Europe/Madrid", "cs-cz": "Europe/Prague", "da-dk": "Europe/Copenhagen",
	"de-at": "Europe/Vienna", "de-ch": "Europe/Zurich", "de-de": "Europe/Berlin", "de-lu": "Europe/Luxembourg",
	"el-gr": "Europe/Athens", "en-au": "Australia/Sydney", "en-ca": "America/Toronto", "en-gb": "Europe/London",
	"en-ie": "Europe/Dublin", "en-in": "Asia/Kolkata", "en-nz": "Pacific/Auckland", "en-sg": "Asia/Singapore",
	"en-us": "America/New_York", "en-za": "Africa/Johannesburg", "es-ar": "America/Argentina/Buenos_Aires", "es-cl": "America/Santiago",
	"es-co": "America/Bogota", "es-es": "Europe/Madrid", "es-mx": "America/Mexico_City", "et-ee": "Europe/Tallinn",
	"fi-fi": "Europe/Helsinki", "fr-be": "Europe/Brussels", "fr-ca": "America/Toronto", "fr-ch": "Europe/Zurich",
	"fr-fr": "Europe/Paris", "fr-lu": "Europe/Luxembourg", "fr-ma": "Africa/Casablanca", "he-il": "Asia/Jerusalem",
	"hi-in": "Asia/Kolkata", "hr-hr": "Europe/Zagreb", "hu-hu": "Europe/Budapest", "id-id": "Asia/Jakarta",
	"it-ch": "Europe/Zurich", "it-it": "Europe/Rome", "ja-jp": "Asia/Tokyo", "ko-kr": "Asia/Seoul",
	"lt-lt": "Europe/Vilnius", "lv-lv": "Europe/Riga", "nb-no": "Europe/Oslo", "nl-be": "Europe/Brussels",
	"nl-nl": "Europe/Amsterdam", "no-no": "Europe/Oslo", "pl-pl": "Europe/Warsaw", "pt-br": "America/Sao_Paulo",
	"pt-pt": "Europe/Lisbon", "ro-ro": "Europe/Bucharest", "ru-ru": "Europe/Moscow", "sk-sk": "Europe/Bratislava",
	"sl-si": "Europe/Ljubljana", "sv-se": "Europe/Stockholm", "th-th": "Asia/Bangkok", "tr-tr": "Europe/Istanbul",
	"uk-ua": "Europe/Kyiv", "vi-vn": "Asia/Ho_Chi_Minh", "zh-cn": "Asia/Shanghai", "zh-hk": "Asia/Hong_Kong",
	"zh-tw": "Asia/Taipei",
}

// maxLoaded bounds the cache; the database has about 600 names.
const maxLoaded = 1000

// loaded keeps the zones that were read, because time.LoadLocation reads a file each time.
var loaded = struct {
	sync.Mutex
	zones map[string]*time.Location
}{zones: map[string]*time.Location{}}

// load finds a zone by its name in the database. "Local" is none: it would mean another zone on every machine.
func load(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("load time zone %q: it names no zone", name)
	}
	loaded.Lock()
	defer loaded.Unlock()
	if zone, known := loaded.zones[name]; known {
		return zone, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("load time zone: %w", err)
	}
	if len(loaded.zones) >= maxLoaded {
		clear(loaded.zones)
	}
	loaded.zones[name] = zone
	return zone, nil
}
