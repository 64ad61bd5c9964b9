"""Forms: what a pickle holds, as JSON that people read and change, and back without loss. Nothing is run or imported.

What :mod:`kiokupy.inert` reads from a pickle, and :mod:`kiokupy.pickles` writes to one, has these forms::

    null, true, text, numbers                       as in JSON
    a list                                          [...]
    a dict                                          {...}, or {"$dict": [[key, value], ...]}
    a tuple, a set, a frozenset                     {"$tuple": [...]}, {"$set": [...]}, {"$frozenset": [...]}, sorted
    bytes, a bytearray                              {"$bytes": "<base64>"}, {"$bytearray": "<base64>"}
    nan, inf, -inf; an int of 3000 digits           {"$float": "nan"}; {"$int": "0x..."}
    text that is no valid Unicode                   {"$str": "<with Python's escapes>"}
    a date, a time of day, a moment                 {"$date": "2001-02-03"}, {"$time": "..."}, {"$datetime": "..."}, the
                                                    last two with "$zone" if there is one
    a Decimal, a UUID                               {"$decimal": "1.50"}, {"$uuid": "..."}
    a class                                         {"$class": "module:qualname"}
    an object of a class                            {"$new": "module:qualname"}, with "$args", "$keywords", "$state",
                                                    "$items" and "$pairs" if there are any
    what a class was called for, as an enum member  {"$call": "module:qualname"}, with the same
    what a collapse/expand pair made                {"$pair": "module:qualname", "$data": ...}
    another object with an id                       {"$ref": "<id>", "$class": "..."}; {"$weak": ...} if weakly
    a record of ZODB, by its number in the dump     {"$record": 1, "$class": "..."}; {"$weakrecord": ...} if weakly
    what stands in more than one place              {"$id": 1, ...} in the first, {"$same": 1} in the others
    what is nested deeply                           {"$deep": [value, part, ...]}, the parts named by their "$id"
"""
