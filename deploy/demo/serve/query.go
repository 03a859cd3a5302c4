package serve

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Query reads the parameters of a request's query. The first one that is wrong is remembered.
type Query struct {
	request *http.Request
	err     error
}

// NewQuery reads the query of the request.
func NewQuery(r *http.Request) *Query { return &Query{request: r} }

// Whole is the named parameter as a whole number from least to most, or standard without it.
func (q *Query) Whole(name string, standard, least, most int64) int64 {
	text := q.request.URL.Query().Get(name)
	if text == "" {
		return standard
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number < least || number > most {
		q.fail(name, text, fmt.Sprintf("a whole number from %d to %d", least, most))
		return standard
	}
	return number
}

// Duration is the named parameter as a duration such as 1.5s from 0 to most, or standard without it.
func (q *Query) Duration(name string, standard, most time.Duration) time.Duration {
	text := q.request.URL.Query().Get(name)
	if text == "" {
		return standard
	}
	duration, err := time.ParseDuration(text)
	if err != nil || duration < 0 || duration > most {
		q.fail(name, text, fmt.Sprintf("a duration such as 1.5s, at most %v", most))
		return standard
	}
	return duration
}

// Seconds is the named parameter as a number of seconds from 0 to most, or standard without it.
func (q *Query) Seconds(name string, standard, most time.Duration) time.Duration {
	text := q.request.URL.Query().Get(name)
	if text == "" {
		return standard
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds >= 0 && seconds <= most.Seconds()) { // Not a number is neither.
		q.fail(name, text, fmt.Sprintf("a number of seconds from 0 to %v", most.Seconds()))
		return standard
	}
	return time.Duration(seconds * float64(time.Second))
}

func (q *Query) fail(name, text, want string) {
	if q.err == nil {
		q.err = fmt.Errorf("the parameter %s=%q must be %s", name, text, want)
	}
}

// Refused answers with 400 if a parameter was wrong.
func (q *Query) Refused(w http.ResponseWriter) bool {
	if q.err != nil {
		http.Error(w, q.err.Error(), http.StatusBadRequest)
	}
	return q.err != nil
}
