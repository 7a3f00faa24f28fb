package evidence

import "regexp"

// Lines of runners and tools that tell of progress and never of a failure,
// whatever words they hold.
var noise = regexp.MustCompile(`^(?:` +
	// GitHub's runner and its actions.
	`##\[(?:group|endgroup|command|debug|section|notice)\]|\[command\]|Post job cleanup|Cleaning up orphan|Job defined at|Temporarily overriding HOME|Adding repository directory|Removing (?:HTTP|credentials|includeIf)|shell: |env:$|with:$|Runner (?:name|Image)|\[new (?:ref|tag|branch)\]|\* \[new |includeif\.|(?:Checks|Contents|Actions|Deployments|Discussions|Issues|Packages|Pages|PullRequests|RepositoryProjects|SecurityEvents|Statuses|Metadata|Models|Attestations|IdToken): (?:read|write)$|` +
	`Secret source|Prepare (?:workflow|all)|Getting action download|Download action|Complete job name|` +
	// Progress of downloads and installations.
	`Progress \(|Download(?:ing|ed)\b|\[INFO\] Download|Fetched |Get:\d|Hit:\d|Ign:\d|Collecting |Using cached|Requirement already|Unpacking |Setting up |Preparing to unpack|Selecting previously|remote: (?:Counting|Compressing|Enumerating|Total)|Receiving objects|Resolving deltas|Installing collected|Successfully installed|[\da-f]{12}: (?:Pull|Verif|Wait|Extract|Download|Already)|(?:Compiling|Checking|Downloaded|Fresh|Running|Finished) \S+ v\d|#\d+ (?:sha256|extracting|DONE|CACHED)|npm (?:warn|WARN) deprecated|` +
	// Checkouts of other commits.
	`Commit message: |Checking out Revision|HEAD is now at|Previous HEAD|> git |Note: (?:switching|checking)|Fast-forward|Updating [\da-f]+\.\.|From https?://|[+*] +[\da-f]{7,}\.\.|` +
	// Maven, Gradle, Jenkins, Travis.
	`(?:\[ERROR\] )?Picked up JAVA_TOOL_OPTIONS|\[INFO\]|\[DEBUG\]|\[WARNING\]|\[WARN\]|travis_(?:time|fold)|Sending e-mails|Finished: |Started by |Building (?:remotely|on|in workspace)|No emails were triggered|GitHub Issue Notifier|Archiving artifacts|Recording test results|\[Pipeline\]|Triggering a new build|Setting status of|Skipping |> Task :\S+(?: UP-TO-DATE| NO-SOURCE| SKIPPED| FROM-CACHE)?$|\d+ actionable tasks?|Using Gradle|\* (?:Try|Get more help)|> (?:Run with --|Get more help)|Deprecated Gradle features|You can use '--warning-mode|Welcome to Gradle|BUILD FAILED in|Started daemon` +
	// Counts without failures, and tests that pass.
	`Tests run: \d+, Failures: 0, Errors: 0|test \S+ \.\.\. (?:ok|ignored)|--- (?:PASS|SKIP)|=== (?:RUN|PAUSE|CONT|NAME)|ok +\d* ?[-\w./]+(?:\s|$)|\? +\S+\s+\[no test files\]|PASS(?:ED)?\b|✓|✔|√|\[ +(?:OK|RUN) +\]|\[-+\]|Running [\w.]+$|(?:\S+\s+)?\d+ passed(?:,? \d+ (?:skipped|warnings?|todo|total))* ?(?:in [\d.]+s)?$|\S+::\S+ PASSED|0 (?:errors?|failures?|failed)|no (?:errors?|problems?|issues?) found|Success: no issues` +
	`)`)

// isNoise reports whether a line, without indentation, tells of progress.
func isNoise(text string) bool { return noise.MatchString(text) }

// Lines with which every job of a kind fails: worth showing, but never a key.
var boilerplate = regexp.MustCompile(`(?i)^(?:##\[error\])?(?:Process completed with exit code|ERROR: Job failed: exit code|The operation was canceled|Cleaning up|Build step '.*' marked build as failure|BUILD FAIL|\[ERROR\] (?:To see the full|Re-run Maven|For more information|\[Help \d|After correcting|-> \[Help)|Execution failed for task|npm (?:ERR!|error) (?:A complete log|\s*/)|Exited with code|Error: Process completed|Command failed with exit code|error Command failed|Done\. Your build exited|The command ".*" exited with|info Visit https|Run with --|\* (?:Try|What went wrong|Get more help)|> (?:Run with|Get more help)|No files were found|Warning: )`)

func isBoilerplate(text string) bool { return boilerplate.MatchString(text) }
