package function_test

import (
	"reflect"
	"testing"
	_ "time/tzdata" // the machine's own database may be missing

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/schedule"
)

func TestScheduleInBothSpellings(t *testing.T) {
	full := &schedule.Schedule{TimeZoneID: "Europe/Paris", WakeUp: []schedule.Clock{420, 810},
		ScaleDownTimeout: []schedule.Timeout{{Time: 420, Value: 20}, {Time: 1140, Value: 0}}}
	const rest = `"Default":{"WakeUp":["07:00","13:30"],"ScaleDownTimeout":[{"Time":"07:00","Value":20},{"Time":"19:00","Value":0}]}}`
	for _, c := range []struct {
		value    string
		want     *schedule.Schedule
		problems []string
	}{
		{`{"TimeZoneID":"Europe/Paris",` + rest, full, nil},
		{`{"Culture":"fr-FR",` + rest, full, nil},
		{`{"timezoneid":"Europe/Paris","default":{"wakeup":["7:00","13:30"],"SCALEDOWNTIMEOUT":[{"time":"07:00","value":20},{"Value":0,"Time":"19:00"}]}}`, full, nil},
		{`{"TimeZoneID":"Asia/Tokyo","Culture":"fr-FR","Default":{}}`, &schedule.Schedule{TimeZoneID: "Asia/Tokyo"}, nil},
		{`{"TimeZoneID":"UTC","Default":null,"Holidays":[]}`, &schedule.Schedule{TimeZoneID: "UTC"}, []string{`"Holidays" is ignored: unknown key, known are TimeZoneID, Culture, Default`}},
		{`{"Default":{"WakeUp":[]}}`, &schedule.Schedule{TimeZoneID: "Europe/London"}, []string{`"{\"Default\":{\"WakeUp\":[]}}" has no TimeZoneID; Europe/London holds`}},
		{"", nil, nil},
		{"null", nil, nil},
	} {
		f, problems := read(on("SlimFaas/Schedule", c.value))
		if !reflect.DeepEqual(f.Schedule, c.want) {
			t.Errorf("%s: got %+v", c.value, f.Schedule)
		}
		requireProblems(t, c.value, problems, c.problems...)
	}
}

func TestScheduleProblems(t *testing.T) {
	const end = "; the annotation has no effect"
	for _, c := range []struct{ value, want string }{
		{`{`, `"{" is no valid JSON`},
		{`[]`, `"[]" is not a JSON object`},
		{`{"TimeZoneID":"Europe/Pariss"}`, `"{\"TimeZoneID\":\"Europe/Pariss\"}" cannot be kept to: time zone "Europe/Pariss" is not in the IANA database, whose names are such as Europe/Paris`},
		{`{"Culture":"xx-XX"}`, `"{\"Culture\":\"xx-XX\"}" cannot be kept to: culture "xx-XX" has no zone here: write TimeZoneID with a zone of the IANA database, such as Europe/Paris`},
		{`{"TimeZoneID":1}`, `"1" at TimeZoneID is not a text of at most 60 bytes`},
		{`{"Default":["07:00"]}`, `"[\"07:00\"]" at Default is not a JSON object`},
		{`{"Default":{"WakeUp":"07:00"}}`, `"\"07:00\"" at Default.WakeUp is not a list of at most 100`},
		{`{"Default":{"WakeUp":["07:00","25:00"]}}`, `"\"25:00\"" at Default.WakeUp[1] is not a time of day from 00:00 to 23:59`},
		{`{"Default":{"WakeUp":[7]}}`, `"7" at Default.WakeUp[0] is not a text such as "07:00"`},
		{`{"Default":{"ScaleDownTimeout":[{"Value":1}]}}`, `"{\"Value\":1}" at Default.ScaleDownTimeout[0] has no Time, such as "07:00"`},
		{`{"Default":{"ScaleDownTimeout":[{"Time":"07:00"}]}}`, `"{\"Time\":\"07:00\"}" at Default.ScaleDownTimeout[0] has no Value, in seconds`},
		{`{"Default":{"ScaleDownTimeout":[{"Time":"07:00","Value":-1}]}}`, `"-1" at Default.ScaleDownTimeout[0].Value is not a whole number from 0 to 31536000`},
		{`{"Default":{"ScaleDownTimeout":[{"Time":"07:00","Value":31536001}]}}`, `"31536001" at Default.ScaleDownTimeout[0].Value is not a whole number from 0 to 31536000`},
	} {
		f, problems := read(on("sluice/Schedule", c.value))
		if f.Schedule != nil {
			t.Errorf("%s: got %+v", c.value, f.Schedule)
		}
		requireProblems(t, c.value, problems, c.want+end)
	}
	if want := function.Defaults("f", function.KindDeployment); want.Schedule != nil {
		t.Error("the default is no schedule")
	}
}
