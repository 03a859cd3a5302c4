package natsperm

import (
	"slices"
	"strings"
	"testing"
)

// within reports whether a server takes a subject, which may have wildcards itself, for a part of a pattern. To its eyes the * of the
// pattern admits a last > as well (nats-server 2.15); what lies deeper, nobody may publish.
func within(subject, pattern string) bool {
	s, p := strings.Split(subject, "."), strings.Split(pattern, ".")
	if n := len(p) - 1; p[n] == ">" {
		if len(s) <= n {
			return false
		}
		s, p = s[:n], p[:n]
	}
	return slices.EqualFunc(s, p, func(s, p string) bool { return p == s || p == "*" })
}

func permitted(subject string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return within(subject, pattern) })
}

// Row 16 of the bugs of others: the JetStream API open across users. Each user is refused on every subject that is not its own.
func TestUsersAreRefusedOnWhatIsNotTheirs(t *testing.T) {
	for _, prefix := range []string{"sluice", "acme"} {
		t.Run(prefix, func(t *testing.T) {
			url := single(t, "prefix="+prefix).ClientURL()
			for user, rights := range tableOf(prefix) {
				t.Run(user, func(t *testing.T) {
					l := connect(t, url, user, prefix)
					l.check("publish", publishedOf(prefix), rights.publish)
					l.check("subscribe", subscribedOf(prefix), rights.subscribe)
					l.check("queue", subscribedOf(prefix), rights.subscribe)
				})
			}
		})
	}
}

// check uses each subject and compares what the server refuses with what is permitted.
func (l *login) check(how string, subjects, patterns []string) {
	l.t.Helper()
	kind := strings.Replace(how, "queue", "subscribe", 1)
	refused := l.refusals(func() {
		for _, subject := range subjects {
			l.use(how, subject)
		}
	})
	unused, may := slices.Clone(patterns), 0
	for _, subject := range subjects {
		want := !permitted(subject, patterns)
		if refused[kind+" "+subject] != want {
			l.t.Errorf("%s %s: refused is %v", how, subject, !want)
		}
		if !want {
			may++
		}
		unused = slices.DeleteFunc(unused, func(pattern string) bool { return within(subject, pattern) })
		delete(refused, kind+" "+subject)
	}
	if len(refused) > 0 {
		l.t.Errorf("the server says of %s what is not understood: %v", how, refused)
	}
	if len(unused) > 0 {
		l.t.Errorf("%s: nothing was tried of %q", how, unused)
	}
	l.t.Logf("%s: %d subjects permitted, %d refused", how, may, len(subjects)-may)
}

func (l *login) use(how, subject string) {
	l.t.Helper()
	var err error
	switch how {
	case "publish":
		err = l.Publish(subject, nil)
	case "subscribe":
		_, err = l.SubscribeSync(subject)
	case "queue":
		_, err = l.QueueSubscribeSync(subject, "workers")
	}
	if err != nil {
		l.t.Errorf("%s %s: %v", how, subject, err)
	}
}
