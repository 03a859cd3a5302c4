package function

import "strings"

// choice is an annotation whose value is one of a few words, in any case.
type choice[T comparable] struct {
	keys []string
	// want says what is wrong with another word.
	want string
	// options has the word that is written in sentences first for each value.
	options []option[T]
	field   func(*Function) *T
}

type option[T comparable] struct {
	word  string
	value T
}

var (
	visibilities = choice[Visibility]{
		keys:    []string{KeyDefaultVisibility},
		want:    `is neither "Public" nor "Private"`,
		options: []option[Visibility]{{"Public", Public}, {"Private", Private}},
		field:   func(f *Function) *Visibility { return &f.DefaultVisibility },
	}
	trusts = choice[Trust]{
		keys:    []string{KeyDefaultTrust, keyDefaultTrusted},
		want:    `is neither "Trusted" nor "Untrusted"`,
		options: []option[Trust]{{"Trusted", Trusted}, {"Untrusted", Untrusted}, {"true", Trusted}, {"false", Untrusted}},
		field:   func(f *Function) *Trust { return &f.DefaultTrust },
	}
	wakes = choice[bool]{
		keys:    []string{KeyWakeWithAny},
		want:    `is neither "true" nor "false"`,
		options: []option[bool]{{"true", true}, {"false", false}},
		field:   func(f *Function) *bool { return &f.WakeWithAny },
	}
	protocols = choice[string]{
		keys:    []string{KeyProtocol},
		want:    `is neither "http" nor "h2c"`,
		options: []option[string]{{"http", ""}, {ProtocolH2C, ProtocolH2C}, {AppProtocolH2C, ProtocolH2C}},
		field:   func(f *Function) *string { return &f.Protocol },
	}
)

func readChoice[T comparable](r *reader, c choice[T]) {
	key, word, found := r.lookup(c.keys...)
	if !found {
		return
	}
	for _, o := range c.options {
		if strings.EqualFold(o.word, word) {
			*c.field(&r.function) = o.value
			return
		}
	}
	kept, target := r.kept(), c.field(&r.function)
	value := *c.field(&kept)
	r.report(key, word, c.want+"; "+theOne(value, *target)+" "+c.word(value)+" holds")
	*target = value
}

func (c choice[T]) word(value T) string {
	for _, o := range c.options {
		if o.value == value {
			return o.word
		}
	}
	return "value"
}
