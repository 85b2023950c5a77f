package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/text"
	"snitch/monitor/export/remote"
)

func newRemote(io stdio) *cobra.Command {
	return commandGroup(&cobra.Command{
		Use:   "remote",
		Short: "Keep the record on an SQL server of another host too",
		Long: `With remote.url in the configuration the record also goes to a PostgreSQL, MariaDB or
MySQL server, by a process without privileges and an account that may only add rows.
What the server cannot take waits on disk. 'snitch status' says how that goes.`,
		Example: `  snitch remote schema postgres --writer snitch | psql fleet
  sudo snitch remote check`,
	}, newRemoteSchema(io), newRemoteCheck(io))
}

func newRemoteSchema(io stdio) *cobra.Command {
	var opts remote.SchemaOptions
	cmd := &cobra.Command{
		Use:   "schema postgres|mysql",
		Short: "Print the SQL that makes the tables, and gives rights on them",
		Long: `Print the SQL that makes the tables in a database, for psql or mariadb. Running it
again does no harm. The accounts must be there already.`,
		Example: `  snitch remote schema postgres --writer snitch --reader grafana | psql fleet
  snitch remote schema mysql --writer snitch@10.0.0.% | mariadb fleet`,
		ValidArgs: remote.Dialects(),
		Args:      cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError(fmt.Errorf("one kind of server is wanted, got %d", len(args)), "say 'snitch remote schema postgres' or mysql")
			}
			if args[0] == "mariadb" {
				args[0] = "mysql"
			}
			sql, err := remote.Schema(args[0], opts)
			if err != nil {
				return usageError(err, "say 'snitch remote schema postgres' or mysql")
			}
			return write(io.out, sql)
		},
	}
	cmd.Flags().StringVar(&opts.Writer, "writer", "", "account that may add rows and nothing else; of MariaDB also NAME@HOST")
	cmd.Flags().StringVar(&opts.Reader, "reader", "", "account that may read")
	complete(cmd, "writer", cobra.NoFileCompletions)
	complete(cmd, "reader", cobra.NoFileCompletions)
	return cmd
}

// RemoteCheckOptions are the flags of `snitch remote check`.
type RemoteCheckOptions struct {
	Config string
	JSON   bool
}

func newRemoteCheck(io stdio) *cobra.Command {
	var opts RemoteCheckOptions
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say whether the server would take the record",
		Long: `Enter the server of the configuration as the daemon does, write a row into each table,
take that back, and say what is wrong: address, certificate, password, tables, rights
that are missing, and rights that the account should not have.`,
		Example:           "  sudo snitch remote check\n  sudo snitch remote check --config new.yaml",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return runRemoteCheck(cmd.Context(), io, opts) },
	}
	configFlag(cmd, &opts.Config)
	jsonFlag(cmd, &opts.JSON, "print one JSON object")
	return cmd
}

func runRemoteCheck(ctx context.Context, io stdio, opts RemoteCheckOptions) error {
	var args []string
	if opts.Config != "" {
		args = []string{opts.Config}
	}
	cfg, _, err := readConfig(io.in, args)
	if err != nil {
		return err
	}
	if cfg.Remote.URL == "" {
		return usageError(errors.New("remote.url is not set: nothing goes to another host"), "set it in the configuration, see docs/remote-sql.md")
	}
	access, err := remoteAccess(cfg.Remote)
	if err != nil {
		return usageError(err, "see docs/remote-sql.md")
	}
	report, err := checkRemote(ctx, access)
	if err != nil {
		return errorWithHint(fmt.Errorf("%s: %w", access.Address.String(), err), "see docs/remote-sql.md")
	}
	if opts.JSON {
		return printJSON(io.out, report)
	}
	encrypted := "with TLS"
	if !report.TLS {
		encrypted = "without TLS"
	}
	out := fmt.Sprintf("ok: %s, %s, %s, schema %d\n", text.Clean(access.Address.String()), text.Clean(report.Server), encrypted, report.Schema)
	if len(report.Surplus) > 0 {
		out += "the account may more than it needs: " + text.Clean(strings.Join(report.Surplus, ", ")) + "\n"
	}
	return write(io.out, out)
}
