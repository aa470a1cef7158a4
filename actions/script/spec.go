package script

import "github.com/sealpost/sealpost/actions"

// Spec describes the action.
func (a *Action) Spec() actions.Spec {
	return actions.Spec{
		Kind:  Kind,
		Title: "Starts analyses, each with its environment and the job's data.",
		Fields: []actions.Field{
			{Name: "script", Form: actions.ScriptsForm, Need: true, Doc: "The ids of one to ten analyses. They run side by side."},
		},
		Limits:     "32 scripts at once in a worker, each for `SEALPOST_SCRIPT_TIMEOUT` at most; environment and data of a script, which are variables, 128 KiB each. An analysis that listens may take as long as it likes.",
		Retries:    "An exit code other than 0, a script that ran out of time, an analysis to which nobody listens. Those that have ended are not started again.",
		Duplicates: "When a worker dies while a script runs, or the answer of a listener is lost.",
		Key:        "`_job_id` in the environment, the same in all attempts.",
	}
}
