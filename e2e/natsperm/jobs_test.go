package natsperm

import "slices"

// jobsTable is what jobs add to tableOf.
func jobsTable(p string) map[string]rights {
	follow := []string{
		"$JS.API.CONSUMER.CREATE.KV_" + p + "-runs.*.$KV." + p + "-runs.>",
		"$JS.API.CONSUMER.DELETE.KV_" + p + "-runs.*",
		"$JS.FC.KV_" + p + "-runs.>",
		"$JS.API.CONSUMER.CREATE.KV_" + p + "-definitions.*.$KV." + p + "-definitions.>",
		"$JS.API.CONSUMER.DELETE.KV_" + p + "-definitions.*",
		"$JS.FC.KV_" + p + "-definitions.>",
	}
	read := []string{"$JS.API.STREAM.INFO." + p + "-jobs", "$JS.API.STREAM.MSG.GET.KV_" + p + "-runs", "$JS.API.STREAM.MSG.GET.OBJ_" + p + "-joblogs"}
	var made []string
	for _, stream := range []string{p + "-jobs", p + "-dead", "KV_" + p + "-runs", "KV_" + p + "-definitions", "OBJ_" + p + "-joblogs"} {
		made = append(made, "$JS.API.STREAM.CREATE."+stream, "$JS.API.STREAM.UPDATE."+stream)
	}
	return map[string]rights{
		"gateway": {
			publish: slices.Concat([]string{
				p + ".job.*", p + ".joblog.*", p + ".joblog.*.*", p + ".run-revision.*.*", "$KV." + p + "-runs.*.*",
				"$JS.API.STREAM.INFO.KV_" + p + "-runs", "$JS.API.STREAM.INFO.KV_" + p + "-definitions",
				"$JS.API.DIRECT.GET.OBJ_" + p + "-joblogs",
			}, follow, read),
			subscribe: []string{p + ".joboutput.*", p + ".definitions-revision", p + ".run-revision.*.*"},
		},
		"jobrunner": {
			publish: slices.Concat([]string{
				p + ".job.*", p + ".deadjob.*", p + ".jobstate.*.*", p + ".joboutput.*", p + ".run-revision.*.*", p + ".definitions-revision",
				p + ".wake.*", p + ".activity",
				"$KV." + p + "-runs.*.*", "$KV." + p + "-definitions.*", "$O." + p + "-joblogs.C.*", "$O." + p + "-joblogs.M.*",
				"$JS.API.INFO", "$JS.API.STREAM.INFO.KV_" + p + "-runs", "$JS.API.STREAM.MSG.DELETE." + p + "-jobs", "$JS.API.DIRECT.GET." + p + "-jobs", "$JS.API.STREAM.PURGE.OBJ_" + p + "-joblogs",
				"$JS.API.CONSUMER.CREATE." + p + "-jobs.*." + p + ".job.*", "$JS.API.CONSUMER.MSG.NEXT." + p + "-jobs.*",
				"$JS.API.CONSUMER.RESET." + p + "-jobs.*", "$JS.ACK." + p + "-jobs.>",
			}, made, follow, read),
			subscribe: []string{
				"_INBOX." + p + ".jobrunner.>", p + ".job.*", p + ".joblog.*", p + ".joblog.*.*", p + ".run-revision.*.*", p + ".definitions-revision",
			},
		},
	}
}
