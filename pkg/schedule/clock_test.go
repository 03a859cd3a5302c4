package schedule_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/schedule"
)

func TestClock(t *testing.T) {
	for text, want := range map[string]schedule.Clock{"00:00": 0, "7:05": 425, "07:05": 425, "23:59": 1439} {
		if got, err := schedule.ParseClock(text); err != nil || got != want {
			t.Errorf("%s: got %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", ":", "7", "24:00", "12:60", "12:5", "012:00", "-1:00", "+7:00", "12:+5", " 7:00", "07:00:00", "07h00", "7:00 ", "１:00", strings.Repeat("9", 99)} {
		if got, err := schedule.ParseClock(text); err == nil || !strings.Contains(err.Error(), "is not a time of day from 00:00 to 23:59") || len(err.Error()) > 100 {
			t.Errorf("%q: got %d, %v", text, got, err)
		}
	}
}

func TestScheduleTravelsAsJSON(t *testing.T) {
	s := schedule.Schedule{TimeZoneID: "Europe/Paris", WakeUp: []schedule.Clock{425}, ScaleDownTimeout: []schedule.Timeout{{Time: 0, Value: 20}}}
	text, err := json.Marshal(s)
	if want := `{"TimeZoneID":"Europe/Paris","WakeUp":["07:05"],"ScaleDownTimeout":[{"Time":"00:00","Value":20}]}`; err != nil || string(text) != want {
		t.Fatalf("got %s, %v", text, err)
	}
	var back schedule.Schedule
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, s) {
		t.Fatalf("got %+v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"WakeUp":["25:00"]}`), &back); err == nil {
		t.Error("25:00 is read")
	}
}
