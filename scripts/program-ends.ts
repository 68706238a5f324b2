/** What ends a long-lived program, or could, besides the failures of calls (`src/rpc/call-failures.ts`). */
export interface ProgramEnd {
  readonly what: string
  /** The programs that this happens to. */
  readonly program: string
  /** The exit status, or why the program goes on. */
  readonly end: string
  /** The test that shows it: file, colon, name. */
  readonly shownBy: string
}

export const programEnds: readonly ProgramEnd[] = [
  {
    what: 'one of its options, files or certificates is wrong',
    program: 'all, at their start',
    end: '1, with one sentence',
    shownBy:
      'test/faults/tls-start.test.ts: a SuperLink that is told nonsense about TLS ends at once with one sentence',
  },
  {
    what: 'its address is in use, or cannot be opened',
    program: 'SuperLink, SuperNode, SuperExec, at their start',
    end: '1',
    shownBy: 'src/rpc/channel.test.ts: a port in use ends the start with a sentence',
  },
  {
    what: 'its SQLite database cannot be opened, is in use, or was written by a newer release',
    program: 'SuperLink, at its start',
    end: '1',
    shownBy:
      'src/db/database.test.ts: a database in use, of a newer release, of Flower, damaged or in no folder is refused with the remedy',
  },
  {
    what: 'PostgreSQL rejects its user, password, database name or certificate',
    program: 'SuperLink, at its start',
    end: '1',
    shownBy:
      'test/engines/postgres.test.ts: what cannot be used is refused in one sentence with a remedy, without the password',
  },
  {
    what: 'PostgreSQL cannot be reached',
    program: 'SuperLink, at its start',
    end: 'none: it waits, and is not ready meanwhile',
    shownBy:
      'test/engines/postgres.test.ts: a server that cannot be reached yet is waited for, and until then a sentence says so',
  },
  {
    what: 'the connection to PostgreSQL is lost',
    program: 'SuperLink',
    end: 'none: it rejects what cannot be stored, peers try again, and it connects again',
    shownBy:
      'test/engines/postgres.test.ts: a lost connection refuses what was under way, and the rest goes on when it is back',
  },
  {
    what: 'another SuperLink uses its PostgreSQL database',
    program: 'SuperLink, at its start',
    end: 'none: it is a standby until the other one ends',
    shownBy:
      'test/engines/postgres.test.ts: a second SuperLink says what it waits for, and takes over when the first one ends or it is told to end',
  },
  {
    what: 'another SuperLink has taken its PostgreSQL database over',
    program: 'SuperLink',
    end: 'none: it stops serving and becomes the standby',
    shownBy:
      'test/engines/standby.test.ts: a SuperLink that was taken over while it was cut off stops serving and becomes the standby',
  },
  {
    what: 'one of its files is wrong when it becomes a standby again',
    program: 'SuperLink',
    end: 'none: it says so, and tries again every five seconds',
    shownBy:
      'src/superlink/start-again.test.ts: a SuperLink that was taken over waits until its files are right, or until the signal',
  },
  {
    what: 'the S3 server rejects its keys, or the bucket does not exist',
    program: 'SuperLink, at its start',
    end: '1',
    shownBy:
      'test/engines/object-places.test.ts: a start waits for its store and says so; a wrong setting ends it with a remedy and no secret',
  },
  {
    what: 'the S3 server cannot be reached',
    program: 'SuperLink, at its start',
    end: 'none: it waits, and is not ready meanwhile',
    shownBy:
      'test/engines/object-places.test.ts: a start waits for its store and says so; a wrong setting ends it with a remedy and no secret',
  },
  {
    what: 'the S3 server fails',
    program: 'SuperLink',
    end: 'none: it rejects large objects until the server responds again',
    shownBy:
      'test/engines/object-places.test.ts: a store that stays out of order refuses objects, says so once, and goes on when it is back',
  },
  {
    what: 'its disk is full',
    program: 'SuperLink',
    end: 'none: it rejects what cannot be stored until there is room; 1 at its start',
    shownBy:
      'test/flows/operator.test.ts: a SuperLink whose disk is full says so everywhere, and works again when there is room',
  },
  {
    what: 'its database or its folder has become read-only, or is locked by another program',
    program: 'SuperLink',
    end: 'none: it rejects what cannot be stored until it can write again',
    shownBy:
      'src/superlink/unwritable-disk.test.ts: a database and a folder that have become read-only are reported with the remedy, and no upload is lost',
  },
  {
    what: 'the disk fails while it stores a commit',
    program: 'SuperLink',
    end: 'none: it stores nothing more, and its health check names the fault',
    shownBy:
      'src/db/durability.test.ts: after the disk has failed … to store a commit, nothing more is acknowledged, and readers stay at what is stored',
  },
  {
    what: 'SIGINT, SIGTERM, SIGQUIT',
    program: 'all',
    end: '0; a second signal ends it at once, with 128 and the number of the signal',
    shownBy: 'src/base/program.test.ts: a second signal ends a program at once, with the status of shells',
  },
  {
    what: 'it does not end within 5 seconds of a signal (after SIGTERM: and `--drain-timeout`)',
    program: 'all',
    end: '1',
    shownBy: 'src/base/program.test.ts: a program that does not end in time after a signal says so before it is ended',
  },
  {
    what: 'its parent process has ended',
    program: 'app processes, and a SuperExec when its ServerApps have ended (--keep-apps of the SuperLink)',
    end: '0',
    shownBy: 'test/faults/restart.test.ts: SuperExec and apps end with the SuperNode that started them',
  },
  {
    what: 'no `flwr` command and no run has used it for a while',
    program: 'SuperLink that `flwr` has started for simulations',
    end: '0',
    shownBy: 'src/superlink/idle.test.ts: a SuperLink is idle when no command has come for the time',
  },
  {
    what: 'a file that was changed while it runs is invalid',
    program: 'all',
    end: 'none: the last valid files stay in use, and the log says why',
    shownBy: 'test/flows/tls-reload.test.ts: an invalid set leaves the last good one in use, and is logged once',
  },
  {
    what: 'a SuperExec that it started has ended',
    program: 'SuperLink, SuperNode',
    end: 'none: it is started again',
    shownBy:
      'test/faults/superexec-access.test.ts: only the SuperExec of a SuperLink and of a SuperNode takes their tasks, also after it was killed',
  },
  {
    what: 'a bug in Trellis',
    program: 'all',
    end: '1, with the request to report it',
    shownBy: 'src/base/program.test.ts: a mistake of the user is one sentence, and a bug asks to be reported',
  },
]
