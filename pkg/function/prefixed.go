package function

import "strings"

// Entries of PathsStartWithVisibility and SubscribeEvents have a visibility before them, as in Private:/admin. An entry with another
// word before it is wrong; where nothing else can hold, it counts as Private, because that is what nobody must get round.

var pathRules = list[PathRule]{
	key:   KeyPathVisibility,
	parse: parsePathRule,
	field: func(f *Function) *[]PathRule { return &f.PathVisibility },
}

var subscriptions = list[Subscription]{
	key:   KeySubscribeEvents,
	parse: parseSubscription,
	field: func(f *Function) *[]Subscription { return &f.SubscribeEvents },
}

// parsePathRule takes an entry without a visibility for Public, as SlimFaas does.
func parsePathRule(_ *Function, entry string) (PathRule, *wrongEntry) {
	visibility, path, wrong := cutVisibility(entry, Public)
	if path == "" {
		return PathRule{}, leftOut("has no path, as in Private:/admin")
	}
	return PathRule{Prefix: cleanPrefix(path), Visibility: visibility}, wrong
}

// parseSubscription takes an entry without a visibility for one with that of the function.
func parseSubscription(f *Function, entry string) (Subscription, *wrongEntry) {
	visibility, event, wrong := cutVisibility(entry, f.DefaultVisibility)
	if ValidEvent(event) != nil {
		return Subscription{}, leftOut("is no event: " + wantEvent)
	}
	return Subscription{Event: event, Visibility: visibility}, wrong
}

// cutVisibility takes what is before the first colon for a visibility, unless that has a slash.
func cutVisibility(entry string, without Visibility) (v Visibility, rest string, wrong *wrongEntry) {
	word, rest, found := strings.Cut(entry, ":")
	if !found || strings.Contains(word, "/") {
		return without, entry, nil
	}
	rest = strings.TrimSpace(rest)
	for _, o := range visibilities.options {
		if strings.EqualFold(o.word, strings.TrimSpace(word)) {
			return o.value, rest, nil
		}
	}
	return Private, rest, &wrongEntry{want: `begins with neither "Public:" nor "Private:"`, counts: true, instead: "it counts as Private"}
}
