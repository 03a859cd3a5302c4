package function

import (
	"encoding/json"
	"reflect"
)

// What holds instead of a value that is refused ends its sentence. It depends on what holds alone, and not on how it came to, so
// that an annotation that stays wrong has the same sentence each time it is read.

// valueHolds is for a value with a text.
func valueHolds(last, standard any) string {
	return theOne(last, standard) + " " + jsonText(last) + " holds"
}

// allHold is for something of several parts.
func allHold(last, standard any) string {
	if reflect.DeepEqual(last, standard) {
		return "the defaults hold"
	}
	return "the last valid values hold"
}

func theOne(last, standard any) string {
	if reflect.DeepEqual(last, standard) {
		return "the default"
	}
	return "the last valid value"
}

func jsonText(value any) string {
	text, err := json.Marshal(value)
	if err != nil || string(text) == "null" {
		return "[]"
	}
	return string(text)
}
