package natsperm

import "slices"

// rights are the subjects, with the wildcards of NATS, that one user may use.
type rights struct{ publish, subscribe []string }

// tableOf is who may do what. It is the contract, so it is written out here again.
func tableOf(p string) map[string]rights {
	functions := []string{
		"$JS.API.CONSUMER.CREATE.KV_" + p + "-functions.*.$KV." + p + "-functions.>",
		"$JS.API.CONSUMER.DELETE.KV_" + p + "-functions.*",
		"$JS.FC.KV_" + p + "-functions.>",
	}
	inside := []string{
		"$JS.API.CONSUMER.CREATE.KV_" + p + "-inside.*.$KV." + p + "-inside.>",
		"$JS.API.CONSUMER.DELETE.KV_" + p + "-inside.*",
		"$JS.FC.KV_" + p + "-inside.>",
	}
	jobs := jobsTable(p)
	return map[string]rights{
		"jobrunner": jobs["jobrunner"],
		"gateway": {
			publish: slices.Concat([]string{
				p + ".call.*", p + ".event.*", p + ".callback.*", p + ".wake.*", p + ".activity",
				"$KV." + p + "-attempts.*.*", "$KV." + p + "-keys.*",
				"$O." + p + "-bodies.C.*", "$O." + p + "-bodies.M.*", "$JS.API.STREAM.PURGE.OBJ_" + p + "-bodies",
				"$JS.API.STREAM.INFO." + p + "-calls", "$JS.API.DIRECT.GET." + p + "-calls",
				"$JS.API.STREAM.INFO.KV_" + p + "-attempts", "$JS.API.DIRECT.GET.KV_" + p + "-attempts.$KV." + p + "-attempts.*.*",
				"$JS.API.STREAM.INFO.KV_" + p + "-keys", "$JS.API.DIRECT.GET.KV_" + p + "-keys.$KV." + p + "-keys.*",
				"$JS.API.STREAM.INFO.KV_" + p + "-functions", "$JS.API.STREAM.INFO.KV_" + p + "-inside",
			}, functions, inside, jobs["gateway"].publish),
			subscribe: append([]string{"_INBOX." + p + ".gateway.>", p + ".result.*.*", p + ".revision", p + ".inside-revision"}, jobs["gateway"].subscribe...),
		},
		"dispatcher": {
			publish: append([]string{
				p + ".call.*", p + ".dead.*", p + ".result.*.*", p + ".wake.*", p + ".activity",
				"$KV." + p + "-attempts.*.*", "$O." + p + "-bodies.M.*",
				"$JS.API.INFO",
				"$JS.API.STREAM.CREATE." + p + "-calls", "$JS.API.STREAM.UPDATE." + p + "-calls", "$JS.API.STREAM.INFO." + p + "-calls",
				"$JS.API.STREAM.CREATE." + p + "-dead", "$JS.API.STREAM.UPDATE." + p + "-dead",
				"$JS.API.STREAM.CREATE." + p + "-events", "$JS.API.STREAM.UPDATE." + p + "-events",
				"$JS.API.STREAM.CREATE.KV_" + p + "-attempts", "$JS.API.STREAM.UPDATE.KV_" + p + "-attempts",
				"$JS.API.STREAM.CREATE.KV_" + p + "-keys", "$JS.API.STREAM.UPDATE.KV_" + p + "-keys",
				"$JS.API.STREAM.CREATE.OBJ_" + p + "-bodies", "$JS.API.STREAM.UPDATE.OBJ_" + p + "-bodies",
				"$JS.API.STREAM.INFO.OBJ_" + p + "-bodies", "$JS.API.DIRECT.GET.OBJ_" + p + "-bodies", "$JS.API.STREAM.PURGE.OBJ_" + p + "-bodies",
				"$JS.API.STREAM.MSG.GET.OBJ_" + p + "-bodies", "$JS.API.STREAM.MSG.GET." + p + "-calls", "$JS.API.STREAM.MSG.GET." + p + "-dead",
				"$JS.API.CONSUMER.CREATE." + p + "-events.fanout." + p + ".event.*",
				"$JS.API.CONSUMER.MSG.NEXT." + p + "-events.fanout",
				"$JS.ACK." + p + "-events.>",
				"$JS.API.DIRECT.GET.KV_" + p + "-attempts.$KV." + p + "-attempts.*.*",
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
			subscribe: []string{"_INBOX." + p + ".dispatcher.>", p + ".call.*", p + ".callback.*", p + ".revision"},
		},
		"scaler": {
			publish: slices.Concat([]string{
				p + ".revision", p + ".inside-revision",
				"$KV." + p + "-functions.*", "$KV." + p + "-inside.>",
				"$JS.API.INFO",
				"$JS.API.STREAM.CREATE.KV_" + p + "-functions", "$JS.API.STREAM.UPDATE.KV_" + p + "-functions",
				"$JS.API.STREAM.CREATE.KV_" + p + "-inside", "$JS.API.STREAM.UPDATE.KV_" + p + "-inside",
				"$JS.API.STREAM.INFO." + p + "-calls",
				"$JS.API.DIRECT.GET." + p + "-calls",
			}, functions, inside),
			subscribe: []string{"_INBOX." + p + ".scaler.>", p + ".wake.*", p + ".activity", p + ".revision", p + ".inside-revision"},
		},
		"client": {
			publish:   []string{p + ".call.*", p + ".event.*", p + ".job.*"},
			subscribe: []string{"_INBOX." + p + ".client.>", p + ".jobstate.*.*"},
		},
	}
}

// streams are those of an installation, of a later version of it, and of others.
func streamsOf(p string) []string {
	streams := []string{p, p + "-calls-2", "foreign", "OBJ_" + p + "-bodies", "OBJ_" + p + "-joblogs", "OBJ_foreign"}
	for _, name := range []string{"-calls", "-jobs", "-dead", "-later", "-events"} {
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
		p + ".event", p + ".event.e", p + ".event.e.f", p + ".callback.f", p + ".callback.f.g", p + ".callback", p + ".result", p + ".result.a", p + ".result.a.b",
		p + ".result.a.b.c", p + ".inside-revision", p + ".inside-revision.x", "other.event.e", "other.result.a.b", "other.inside-revision",
		"$O." + p + "-bodies.C.a", "$O." + p + "-bodies.C.a.b", "$O." + p + "-bodies.M.a", "$O." + p + "-bodies.M.a.b", "$O." + p + "-bodies.X.a", "$O.foreign.C.a",
		"$O.foreign.M.a", "$KV." + p + "-inside.10.0.0.1", "$JS.API.CONSUMER.CREATE." + p + "-events.fanout." + p + ".event.*",
		"$JS.API.CONSUMER.CREATE." + p + "-events.fanout." + p + ".event.e", "$JS.API.CONSUMER.CREATE." + p + "-events.fanout." + p + ".call.*",
		"$JS.API.CONSUMER.CREATE." + p + "-events.fanout", "$JS.API.CONSUMER.CREATE." + p + "-events.other." + p + ".event.*",
		"$JS.API.CONSUMER.MSG.NEXT." + p + "-events.fanout", "$JS.API.CONSUMER.DELETE." + p + "-events.fanout",
		"$JS.API.DIRECT.GET.KV_" + p + "-attempts.$KV." + p + "-attempts.f.1", "$JS.API.DIRECT.GET.OBJ_" + p + "-bodies.$O." + p + "-bodies.M.a",
		p + ".deadjob.j", p + ".deadjob.j.k", p + ".jobstate.j", p + ".jobstate.j.r", p + ".jobstate.j.r.x", p + ".joblog.j", p + ".joblog.j.r", p + ".joblog.j.r.x",
		p + ".joboutput", p + ".joboutput.x", p + ".joboutput.x.y", p + ".run-revision", p + ".run-revision.j", p + ".run-revision.j.r", p + ".run-revision.j.r.x",
		p + ".definitions-revision", p + ".definitions-revision.x", "other.job.j", "other.jobstate.j.r", "other.joblog.j.r", "other.definitions-revision",
		"$O." + p + "-joblogs.C.a", "$O." + p + "-joblogs.C.a.b", "$O." + p + "-joblogs.M.a", "$O." + p + "-joblogs.M.a.b", "$O." + p + "-joblogs.X.a",
		"$JS.API.DIRECT.GET.KV_" + p + "-runs.$KV." + p + "-runs.j.r", "$JS.API.DIRECT.GET.OBJ_" + p + "-joblogs.$O." + p + "-joblogs.M.a",
		"foo", p, p + ".call", p + ".call.f", p + ".call.f.g", p + ".job.j", p + ".job.j.k", p + ".wake.f", p + ".wake.f.g", p + ".activity",
		p + ".activity.x", p + ".revision", p + ".dead.f", p + ".dead.f.g", p + ".dispatchers", p + ".other.f",
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
	for _, filter := range []string{"sluice.call.f", "sluice.call.*", "sluice.call.>", "sluice.>", ">", "sluice.job.j", "sluice.dead.f", "acme.call.f", "acme.dead.f", "acme.job.j", "sluice.job.*", "acme.job.>"} {
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
		p + ".event.*", p + ".event.e", p + ".event.>", p + ".callback.*", p + ".callback.f", p + ".callback.>", p + ".result.*.*", p + ".result.a.*", p + ".result.a.b",
		p + ".result.>", p + ".result.*", p + ".result.a.>", p + ".inside-revision", p + ".*-revision", "$O." + p + "-bodies.>", "$KV." + p + "-inside.>", "$KV." + p + "-keys.*",
		p + ".revision", p + ".dispatchers", p + ".jobstate.>", p + ".jobstate.*.*", p + ".joblog.>", p + ".joblog.j", p + ".joblog.j.r", p + ".joblog.*.*",
		p + ".joboutput.>", p + ".joboutput.x", p + ".joboutput.*", p + ".run-revision.>", p + ".run-revision.*", p + ".run-revision.*.*", p + ".run-revision.j.r",
		p + ".definitions-revision", p + ".deadjob.>", p + ".deadjob.*", "$KV." + p + "-runs.>", "$KV." + p + "-definitions.*", "$O." + p + "-joblogs.>", "other.call.f", "other.>", "foo",
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
