package natsperm

// rights are the subjects, with the wildcards of NATS, that one user may use.
type rights struct{ publish, subscribe []string }

// tableOf is who may do what. It is the contract, so it is written out here again.
func tableOf(p string) map[string]rights {
	functions := []string{
		"$JS.API.CONSUMER.CREATE.KV_" + p + "-functions.*.$KV." + p + "-functions.>",
		"$JS.API.CONSUMER.DELETE.KV_" + p + "-functions.*",
		"$JS.FC.KV_" + p + "-functions.>",
	}
	return map[string]rights{
		"gateway": {
			publish: append([]string{
				p + ".call.*", p + ".wake.*", p + ".activity",
				"$JS.API.STREAM.INFO." + p + "-calls",
				"$JS.API.STREAM.INFO.KV_" + p + "-functions",
			}, functions...),
			subscribe: []string{"_INBOX." + p + ".gateway.>", p + ".revision"},
		},
		"dispatcher": {
			publish: append([]string{
				p + ".dead.*", p + ".wake.*", p + ".activity",
				"$KV." + p + "-attempts.*.*",
				"$JS.API.INFO",
				"$JS.API.STREAM.CREATE." + p + "-calls", "$JS.API.STREAM.UPDATE." + p + "-calls", "$JS.API.STREAM.INFO." + p + "-calls",
				"$JS.API.STREAM.CREATE." + p + "-dead", "$JS.API.STREAM.UPDATE." + p + "-dead",
				"$JS.API.STREAM.CREATE.KV_" + p + "-attempts", "$JS.API.STREAM.UPDATE.KV_" + p + "-attempts",
				"$JS.API.STREAM.INFO.KV_" + p + "-functions",
				"$JS.API.CONSUMER.CREATE." + p + "-calls.*." + p + ".call.*",
				"$JS.API.CONSUMER.INFO." + p + "-calls.*",
				"$JS.API.CONSUMER.RESET." + p + "-calls.*",
				"$JS.API.CONSUMER.MSG.NEXT." + p + "-calls.*",
				"$JS.ACK." + p + "-calls.>",
				"$JS.API.CONSUMER.CREATE.KV_" + p + "-attempts.*.$KV." + p + "-attempts.*.*",
				"$JS.API.CONSUMER.DELETE.KV_" + p + "-attempts.*",
				"$JS.FC.KV_" + p + "-attempts.>",
			}, functions...),
			subscribe: []string{"_INBOX." + p + ".dispatcher.>", p + ".call.*", p + ".revision"},
		},
		"scaler": {
			publish: append([]string{
				p + ".revision",
				"$KV." + p + "-functions.*",
				"$JS.API.INFO",
				"$JS.API.STREAM.CREATE.KV_" + p + "-functions", "$JS.API.STREAM.UPDATE.KV_" + p + "-functions",
				"$JS.API.STREAM.INFO." + p + "-calls",
				"$JS.API.DIRECT.GET." + p + "-calls",
			}, functions...),
			subscribe: []string{"_INBOX." + p + ".scaler.>", p + ".wake.*", p + ".activity", p + ".revision"},
		},
		"client": {
			publish:   []string{p + ".call.*", p + ".job.*"},
			subscribe: []string{"_INBOX." + p + ".client.>"},
		},
	}
}

// streams are those of an installation, of a later version of it, and of others.
func streamsOf(p string) []string {
	streams := []string{p, p + "-calls-2", "foreign", "OBJ_" + p + "-bodies"}
	for _, name := range []string{"-calls", "-jobs", "-dead", "-later"} {
		streams = append(streams, p+name)
	}
	for _, name := range bucketsOf(p) {
		streams = append(streams, "KV_"+name)
	}
	return streams
}

func bucketsOf(p string) []string {
	var buckets []string
	for _, name := range []string{"functions", "attempts", "inside", "keys", "definitions", "runs", "results"} {
		buckets = append(buckets, p+"-"+name)
	}
	return append(buckets, "foreign")
}

// publishedOf are subjects that somebody may publish to, and many that nobody may.
func publishedOf(p string) []string {
	subjects := []string{
		"foo", p, p + ".call", p + ".call.f", p + ".call.f.g", p + ".job.j", p + ".job.j.k", p + ".wake.f", p + ".wake.f.g", p + ".activity",
		p + ".activity.x", p + ".revision", p + ".dead.f", p + ".dead.f.g", p + ".dispatchers", p + ".jobstate.x", p + ".joblog.x", p + ".other.f",
		"other.call.f", "other.wake.f", "other.activity", "other.revision",
		"$JS.API.INFO", "$JS.API.STREAM.LIST", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.TEMPLATE.NAMES", "$JS.API.META.LEADER.STEPDOWN",
		"$JS.API.SERVER.REMOVE", "$JS.API.ACCOUNT.PURGE.SLUICE", "$JS.API.ACCOUNT.STREAM.MOVE.SLUICE." + p + "-calls", "$JS.API.x", "$JS.x",
		"$JS.EVENT.ADVISORY.API", "$JS.SNAPSHOT.ACK.x", "$JSC.x", "$KV", "$KV.x", "$O." + p + "-bodies.C.x", "$MQTT.x", "$G.x", "$NRG.x",
		"$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.VARZ", "$SYS.REQ.ACCOUNT.SLUICE.INFO", "$SYS.REQ.ACCOUNT.PING.CONNZ",
		"$SYS.REQ.CLAIMS.UPDATE", "$SYS.ACCOUNT.SLUICE.CONNECT", "$SYS.REQ.SERVER.x.RELOAD", "$SYS.REQ.USER.INFO", "$SYS._INBOX.x",
		"_R_.x.y", "_GR_.x.y", "_INBOX.x", "_INBOX." + p + ".x",
	}
	for _, user := range users {
		subjects = append(subjects, "_INBOX."+p+"."+user+".x", "_INBOX."+p+"."+user+".x.y", "_INBOX."+user+".x")
	}
	for _, stream := range streamsOf(p) {
		subjects = append(subjects, streamSubjects(stream)...)
	}
	for _, bucket := range bucketsOf(p) {
		subjects = append(subjects, "$KV."+bucket+".f", "$KV."+bucket+".f.1", "$KV."+bucket+".f.1.2",
			"$JS.API.$KV."+bucket+".f", "$JS.API.DIRECT.GET.KV_"+bucket+".$KV."+bucket+".f",
			"$JS.API.CONSUMER.CREATE.KV_"+bucket+".c.$KV."+bucket+".>", "$JS.API.CONSUMER.CREATE.KV_"+bucket+".c.$KV."+bucket+".f",
			"$JS.API.CONSUMER.CREATE.KV_"+bucket+".c.$KV."+bucket+".f.*", "$JS.API.CONSUMER.CREATE.KV_"+bucket+".c.$KV.>")
	}
	return subjects
}

// streamSubjects are those of the JetStream API that name a stream.
func streamSubjects(stream string) []string {
	var subjects []string
	for _, verb := range []string{
		"STREAM.CREATE", "STREAM.UPDATE", "STREAM.INFO", "STREAM.DELETE", "STREAM.PURGE", "STREAM.SNAPSHOT", "STREAM.RESTORE",
		"STREAM.MSG.GET", "STREAM.MSG.DELETE", "STREAM.LEADER.STEPDOWN", "STREAM.PEER.REMOVE", "DIRECT.GET", "CONSUMER.NAMES",
		"CONSUMER.LIST", "CONSUMER.CREATE",
	} {
		subjects = append(subjects, "$JS.API."+verb+"."+stream)
	}
	for _, verb := range []string{
		"CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE", "CONSUMER.INFO", "CONSUMER.DELETE", "CONSUMER.RESET", "CONSUMER.PAUSE",
		"CONSUMER.UNPIN", "CONSUMER.MSG.NEXT", "CONSUMER.LEADER.STEPDOWN",
	} {
		subjects = append(subjects, "$JS.API."+verb+"."+stream+".c")
	}
	for _, filter := range []string{"sluice.call.f", "sluice.call.*", "sluice.call.>", "sluice.>", ">", "sluice.job.j", "sluice.dead.f", "acme.call.f", "acme.dead.f"} {
		subjects = append(subjects, "$JS.API.CONSUMER.CREATE."+stream+".c."+filter)
	}
	return append(subjects, "$JS.API.DIRECT.GET."+stream+".sluice.call.f", "$JS.ACK."+stream+".c.1.1.1.1.1", "$JS.ACK.d.h."+stream+".c.1.1.1.1.1",
		"$JS.FC."+stream+".c.x", "$JS.FC."+stream+".c")
}

// subscribedOf are subjects that somebody may subscribe to, and many that nobody may.
func subscribedOf(p string) []string {
	subjects := []string{
		">", "*", "*.>", "*.*", "*.*.*", p + ".>", p + ".*", p + ".*.*", p + ".call.>", p + ".call.f.*", p + ".*.f", "*.call.f", p + ".wake.>",
		p + ".dead.*", p + ".dead.f", p + ".job.*", p + ".job.j", p + ".call.*", p + ".call.f", p + ".wake.*", p + ".wake.f", p + ".activity",
		p + ".revision", p + ".dispatchers", p + ".jobstate.>", p + ".joblog.>", "other.call.f", "other.>", "foo",
		"$JS.>", "$JS.API.>", "$JS.API.STREAM.INFO." + p + "-calls", "$JS.ACK.>", "$JS.ACK." + p + "-calls.>", "$JS.FC.>", "$JS.EVENT.>",
		"$JS.EVENT.ADVISORY.>", "$KV.>", "$KV." + p + "-functions.>", "$KV." + p + "-functions.f", "$KV." + p + "-attempts.>", "$O.>", "$MQTT.>",
		"$SYS.>", "$SYS.REQ.>", "$SYS.ACCOUNT.>", "$SYS.ACCOUNT.SLUICE.>", "$SYS.SERVER.*.STATSZ", "$NRG.>", "_R_.>", "_GR_.>",
		"_INBOX.>", "_INBOX.*", "_INBOX.*.*", "_INBOX.*.>", "_INBOX.*.*.>", "_INBOX.*.*.*", "_INBOX.x", "_INBOX." + p + ".>", "_INBOX." + p + ".*.>",
		"_INBOX." + p + ".*", "_INBOX." + p + ".x", "_INBOX.other.gateway.>",
	}
	for _, user := range users {
		subjects = append(subjects, "_INBOX."+p+"."+user+".>", "_INBOX."+p+"."+user+".x", "_INBOX."+p+"."+user+".x.*", "_INBOX."+p+"."+user, "_INBOX."+user+".>")
	}
	return subjects
}
