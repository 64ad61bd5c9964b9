# The work of graphs.py with KiokuDB itself, in memory: kiokudb.pl COUNT GRAPHS prints microseconds an object, as JSON.
use strict;
use warnings;
use KiokuDB;

package Person;
use Moose;
has [qw(name age tags friend)] => (is => 'rw');
__PACKAGE__->meta->make_immutable;

package main;

my ($count, $graphs) = @ARGV;
my $directory = KiokuDB->connect('hash', create => 1);

sub people {
    my ($first) = @_;
    my @found;
    for my $number ($first .. $first + $count - 1) {
        my $friend = $found[int(($number - $first) / 2)];
        push @found, Person->new(
            name => "person $number", age => $number, tags => ['a', "$number"], ($friend ? (friend => $friend) : ()));
    }
    my $number = $first;
    return map { sprintf('%06d', $number++) => $_ } @found;
}

sub microseconds {
    my ($work) = @_;
    my $start = times;
    $work->();
    return (times - $start) * 1e6 / ($count * $graphs);
}

my @graphs = map { [people($_ * $count)] } 0 .. $graphs - 1;
my @ids = map { sprintf('%06d', $_) } 0 .. $count * $graphs - 1;

my $store = microseconds(sub {
    for my $graph (@graphs) {
        $directory->txn_do(scope => 1, body => sub { $directory->insert(@$graph) });
    }
});
@graphs = ();
my $look_up = microseconds(sub {
    my $scope = $directory->new_scope;
    my @found = map { $_->age } $directory->lookup(@ids);
});
printf qq({"store": %.3f, "look up": %.3f}\n), $store, $look_up;
