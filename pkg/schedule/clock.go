package schedule

import (
	"fmt"
	"strconv"
	"strings"
)

// Clock is a time of day as a clock on the wall shows it: minutes after midnight. Its text, also in JSON, is HH:MM.
type Clock int

// ParseClock reads a time of day from 00:00 to 23:59; the hour may have one digit.
func ParseClock(text string) (Clock, error) {
	hourText, minuteText, _ := strings.Cut(text, ":")
	hour, hourErr := strconv.ParseUint(hourText, 10, 8)
	minute, minuteErr := strconv.ParseUint(minuteText, 10, 8)
	if hourErr != nil || minuteErr != nil || len(hourText) > 2 || len(minuteText) != 2 || hour > 23 || minute > 59 {
		return 0, fmt.Errorf("%.20q is not a time of day from 00:00 to 23:59", text)
	}
	return Clock(60*hour + minute), nil
}

// String is HH:MM.
func (c Clock) String() string { return fmt.Sprintf("%02d:%02d", int(c)/60, int(c)%60) }

// MarshalText is String, for JSON.
func (c Clock) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is ParseClock, for JSON.
func (c *Clock) UnmarshalText(text []byte) error {
	parsed, err := ParseClock(string(text))
	if err != nil {
		return err
	}
	*c = parsed
	return nil
}
