"""What a client will ask for, made ahead or once for many, in processes of its own: reachability, and the packs of clones."""
