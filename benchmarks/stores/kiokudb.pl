# KiokuDB itself, as a worker of workers.py: kiokudb.pl NAME SETTINGS, where the settings are JSON. Each line that it
# reads is a work and its arguments, each line that it writes how that ended. It times itself, as works.py does.
#
# Sessions are kept as Dancer::Session::KiokuDB keeps them: an object of one class under the session's id, put there by
# an insert and found by a lookup, each in a scope of its own. Two things differ: the database is opened once, where
# that module opens it for each session; and a change is an update, where its second insert fails.
use strict;
use warnings;
use JSON::PP;
use List::Util qw(min);
use Storable qw(dclone);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

use constant {HOT => 128, BATCH => 1_000};

open my $answers, '>&', \*STDOUT or die $!;
open STDOUT, '>&', \*STDERR or die $!;    # what a library prints does not get between the answers
$answers->autoflush;

my $json     = JSON::PP->new->allow_nonref;
my $settings = $json->decode($ARGV[1]);
my ($folder, $seconds, $data) = @$settings{qw(folder seconds payload)};
my $number   = int(clock_gettime(CLOCK_MONOTONIC) * 1e9);    # what changes write: never what is there already
my (@ids, @latencies);

my $begin = clock_gettime(CLOCK_MONOTONIC);
my $directory = eval { connected($settings->{options}{backend}) } or do {
    answer('missing', (split / \(|\n/, $@)[0]);    # Perl goes on with where it looked
    exit;
};
answer('done', clock_gettime(CLOCK_MONOTONIC) - $begin);

sub connected {
    my ($backend) = @_;
    require KiokuDB;
    my $class = "KiokuDB::Backend::$backend";
    eval "require $class; 1" or die $@;
    require DBD::SQLite if $backend eq 'DBI';
    my %options = $backend eq 'DBI' ? (dsn => "dbi:SQLite:dbname=$folder/sessions.sqlite", create => 1) : ();
    return KiokuDB->new(backend => $class->new(%options), allow_classes => ['Session']);
}

sub answer { print {$answers} $json->encode([@_]), "\n" }

# Dancer's way to make an id: numbers, which one could guess.
sub new_id { return join '', map { int rand 1_000_000_000 } 1 .. 4 }

sub new_session {
    my $id = new_id();
    return $id => bless {%{dclone($data)}, id => $id}, 'Session';
}

sub create {
    my ($id, $session) = new_session();
    my $scope = $directory->new_scope;
    $directory->insert($id => $session);
    return $id;
}

sub retrieve {
    my ($id) = @_;
    my $scope = $directory->new_scope;
    return $directory->lookup($id);
}

sub change {
    my ($id) = @_;
    my $scope   = $directory->new_scope;
    my $session = $directory->lookup($id);
    $session->{n} = $number++;
    $directory->update($session);
}

sub destroy {
    my ($id) = @_;
    my $scope = $directory->new_scope;
    $directory->delete($id);
}

sub fill {
    my ($left) = @_;
    my @filled;
    for (; $left > 0; $left -= BATCH) {
        my %batch = map { new_session() } 1 .. min(BATCH, $left);
        $directory->txn_do(scope => 1, body => sub { $directory->insert(%batch) });
        push @filled, keys %batch;
    }
    return @filled;
}

sub hot { return @ids[0 .. min(HOT, scalar @ids) - 1] }

# Do something until the time is over, and return how often in a second.
sub rate {
    my ($step, $most) = @_;
    my ($done, $start) = (0, clock_gettime(CLOCK_MONOTONIC));
    my ($end, $before) = ($start + $seconds, $start);
    @latencies = ();
    while (1) {
        $step->($done++);
        my $now = clock_gettime(CLOCK_MONOTONIC);
        push @latencies, $now - $before;
        $before = $now;
        return $done / ($now - $start) if $now >= $end or $most && $done == $most;
    }
}

sub in_turn {
    my ($verb, @of) = @_;
    return rate(sub { $verb->($of[$_[0] % @of]) });
}

my @changes;
my %works = (
    create   => sub {
        @ids = ();
        my $found = rate(sub { push @ids, create() });
        push @ids, fill(HOT - @ids);
        return $found;
    },
    retrieve => sub { in_turn(\&retrieve, hot()) },
    miss     => sub { in_turn(\&retrieve, map { scalar reverse } hot()) },
    change   => sub {
        my $found = in_turn(\&change, hot());
        push @changes, @latencies;
        return $found;
    },
    destroy => sub { rate(sub { destroy(pop @ids) }, scalar @ids) },
    latencies => sub {
        my ($arguments) = @_;
        die "unable\n" if $arguments->{work} ne 'change';
        my @ordered = sort { $a <=> $b } @changes;
        my %places  = (p50 => int(@ordered / 2), p99 => int(@ordered * 99 / 100), longest => $#ordered);
        return {map { $_ => $ordered[$places{$_}] * 1000 } keys %places};
    },
    fill => sub {
        my ($arguments) = @_;
        die "unable\n" if $arguments->{age};
        my $start = clock_gettime(CLOCK_MONOTONIC);
        fill($arguments->{count});
        return $arguments->{count} / (clock_gettime(CLOCK_MONOTONIC) - $start);
    },
    some => sub {
        my ($arguments) = @_;
        my ($work, $count) = @$arguments{qw(work count)};
        for my $turn (0 .. $count - 1) {
            $work eq 'create' ? push(@ids, create()) : change($ids[$turn % @ids]);
        }
        return $count;
    },
    pids   => sub { [$$] },
    memory => sub {
        open my $status, '<', "/proc/$$/status" or die "unable\n";
        my ($kilobytes) = map { /^VmRSS:\s+(\d+)/ ? $1 : () } <$status>;
        return $kilobytes * 1024;
    },
);

while (my $line = <STDIN>) {
    my ($work, $arguments) = @{$json->decode($line)};
    my $do = $works{$work} || sub { die "unable\n" };
    my $found = eval { $do->($arguments) };
    answer(defined $found ? ('done', $found) : $@ eq "unable\n" ? ('unable', "KiokuDB cannot $work") : ('failed', "$@"));
}
