package function

import (
	"encoding/json"

	"github.com/sluicefaas/sluice/pkg/schedule"
)

// maxZoneName is longer than each name of a zone.
const maxZoneName = 60

// readSchedule reads the annotation Schedule, in both spellings. If anything in it is wrong, the last valid one holds as a whole.
func (r *reader) readSchedule() {
	last := r.kept().Schedule
	r.readWhole(KeySchedule, last == nil, func(d *document, holds string, text json.RawMessage) {
		part(d, &r.function.Schedule, fallback[*schedule.Schedule]{last, holds}, func(_ string, value json.RawMessage) {
			r.function.Schedule = d.schedule(value)
		})("", text)
	})
}

// readWhole reads an annotation of which all or nothing holds, if it is there and not empty.
func (r *reader) readWhole(key string, none bool, read func(d *document, holds string, text json.RawMessage)) {
	written, text, found := r.lookup(key)
	if !found || text == "" || text == "null" {
		return
	}
	holds := "the last valid annotation holds"
	if none {
		holds = "the annotation has no effect"
	}
	d := &document{annotation: written}
	read(d, holds, json.RawMessage(text))
	r.problems = append(r.problems, d.problems...)
}

func (d *document) schedule(value json.RawMessage) *schedule.Schedule {
	s := &schedule.Schedule{}
	culture := ""
	d.object("", value, []entry{
		{"TimeZoneID", d.text(&s.TimeZoneID, maxZoneName)},
		{"Culture", d.text(&culture, maxZoneName)},
		{"Default", func(path string, value json.RawMessage) {
			d.object(path, value, []entry{{"WakeUp", d.wakeUps(&s.WakeUp)}, {"ScaleDownTimeout", d.timeouts(&s.ScaleDownTimeout)}})
		}},
	})
	if d.refused {
		return nil
	}
	zone, err := schedule.Zone(s.TimeZoneID, culture)
	if err != nil {
		d.refuse("", string(value), "cannot be kept to: "+err.Error())
		return nil
	}
	if s.TimeZoneID == "" && culture == "" {
		d.report("", string(value), "has no TimeZoneID; "+zone+" holds")
	}
	s.TimeZoneID = zone
	return s
}

func (d *document) wakeUps(target *[]schedule.Clock) func(string, json.RawMessage) {
	return func(path string, value json.RawMessage) {
		d.list(path, value, func(path string, value json.RawMessage) {
			var clock schedule.Clock
			d.clock(&clock)(path, value)
			*target = append(*target, clock)
		})
	}
}

func (d *document) timeouts(target *[]schedule.Timeout) func(string, json.RawMessage) {
	return func(path string, value json.RawMessage) {
		d.list(path, value, func(path string, value json.RawMessage) {
			timeout := schedule.Timeout{Time: -1, Value: -1}
			d.object(path, value, []entry{{"Time", d.clock(&timeout.Time)}, {"Value", d.number(&timeout.Value, 0, maxIdleSeconds)}})
			switch {
			case d.refused:
			case timeout.Time < 0:
				d.refuse(path, string(value), `has no Time, such as "07:00"`)
			case timeout.Value < 0:
				d.refuse(path, string(value), "has no Value, in seconds")
			}
			*target = append(*target, timeout)
		})
	}
}

// clock reads a time of day.
func (d *document) clock(target *schedule.Clock) func(string, json.RawMessage) {
	return func(path string, value json.RawMessage) {
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			d.refuse(path, string(value), "is not a text such as \"07:00\"")
			return
		}
		clock, err := schedule.ParseClock(text)
		if err != nil {
			d.refuse(path, string(value), "is not a time of day from 00:00 to 23:59")
			return
		}
		*target = clock
	}
}
