// Command devflowfix is the one binary of DevFlowFix: `up` runs everything on
// one machine, `web` and `worker` are the processes of an installation.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/devflowfix/devflowfix/internal/config"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/queue"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	queue.SilenceClient()
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// commands are what the command line offers.
type commands struct {
	Config string `help:"Settings file; the environment wins over it. See config.example.yml." type:"path" placeholder:"FILE"`

	Up        upCommand        `cmd:"" help:"Run everything on this machine: PostgreSQL, Redis, web, worker and, without forge credentials, a forge simulator."`
	Web       webCommand       `cmd:"" help:"Receive deliveries and serve the API."`
	Worker    workerCommand    `cmd:"" help:"Work through the queues."`
	Migrate   migrateCommand   `cmd:"" help:"Bring the database schema forward to this release."`
	Doctor    doctorCommand    `cmd:"" help:"Check the settings, the stores and the forges, and say how to mend what is wrong."`
	Token     tokenCommand     `cmd:"" help:"Make a user and print an API token for them."`
	App       appCommand       `cmd:"" help:"Register the GitHub App."`
	Replay    replayCommand    `cmd:"" help:"Apply deliveries again that the ledger holds."`
	Pull      pullCommand      `cmd:"" help:"Read the forges' logs of deliveries instead of being reached by them: for development without a public address."`
	Explain   explainCommand   `cmd:"" help:"Explain why a CI job failed, from its log."`
	RotateKey rotateKeyCommand `cmd:"" help:"Encrypt everything that is stored under the first key of OAUTH_TOKEN_ENCRYPTION_KEY."`

	Login       loginCommand       `cmd:"" group:"A server that runs:" help:"Log in at a server with an API token."`
	Logout      logoutCommand      `cmd:"" group:"A server that runs:" help:"Forget the token."`
	Status      statusCommand      `cmd:"" group:"A server that runs:" help:"Tell how your repositories are."`
	Connections connectionsCommand `cmd:"" group:"A server that runs:" help:"List, connect, mend, pause and disconnect repositories."`
	Incidents   incidentsCommand   `cmd:"" group:"A server that runs:" help:"List and show incidents, and do something about them."`
	Deliveries  deliveriesCommand  `cmd:"" group:"A server that runs:" help:"List, show and replay what the forges sent."`

	Completion completionCommand `cmd:"" help:"Print what lets a shell complete these commands."`
	Complete   completeCommand   `cmd:"" hidden:"" help:"Print how a command line can go on."`
}

// process is what a command gets from the operating system.
type process struct {
	ctx     context.Context
	environ []string
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	config  string
}

// Exit codes; description tells them to people.
const (
	exitFailure   = 1
	exitUsage     = 2
	exitForbidden = 3
	exitNotFound  = 4
)

const description = `Keeps webhooks healthy and turns CI failures into incidents.

Exit codes: 0 all is well, 1 a failure, 2 a command line or settings that are wrong, 3 not logged in or not allowed, 4 not found.`

func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var cli commands
	exit := -1
	parser, err := kong.New(&cli,
		kong.Name("devflowfix"),
		kong.Description(description),
		kong.Writers(stdout, stderr),
		kong.UsageOnError(),
		kong.Exit(func(code int) { exit = code }), // --help
	)
	if err != nil {
		fmt.Fprintln(stderr, "devflowfix:", err)
		return exitFailure
	}
	parsed, err := parser.Parse(args)
	if exit >= 0 {
		return exit
	}
	if err != nil {
		fmt.Fprintf(stderr, "devflowfix: %v\nRun `devflowfix --help`.\n", err)
		return exitUsage
	}
	err = parsed.Run(&process{ctx: ctx, environ: environ, stdin: stdin, stdout: stdout, stderr: stderr, config: cli.Config})
	if err == nil {
		return 0
	}
	return report(stderr, err)
}

// report tells a person why a command stopped.
func report(stderr io.Writer, err error) int {
	if problems, ok := errors.AsType[*config.Problems](err); ok {
		fmt.Fprintln(stderr, problems)
		return exitUsage
	}
	if errors.Is(err, errRed) {
		return exitFailure // the status has told why
	}
	if known, ok := errors.AsType[*fault.Error](err); ok && known.Cause == nil {
		fmt.Fprintln(stderr, "devflowfix:", harmless(known.Sentence))
	} else {
		fmt.Fprintln(stderr, "devflowfix:", err)
	}
	switch fault.KindOf(err) {
	case fault.Unauthenticated, fault.Forbidden:
		return exitForbidden
	case fault.NotFound:
		return exitNotFound
	default:
		return exitFailure
	}
}
