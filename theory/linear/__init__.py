r"""The linear model: data, Algorithm 2 and its relatives, closed forms.

An argument has one name and one symbol in all modules of theory; a docstring repeats it only with a condition.

=================  ==========  ==========================================================================================
argument           symbol      meaning
=================  ==========  ==========================================================================================
model, ensemble                the clients: S_i, a* and b_i* of one instance, or of many at once
num_clients        N           number of clients; ``client`` is i
samples            m           rows of one client's data X_i
moments            S_i         X_i^T X_i / m
dimension          d           columns of X_i
outputs            k           columns of Y_i
rank               r           of the adapter
a_star, heads      a*, b_i*    the truth: orthonormal columns, and one head a client; b_norm is ||b*||
a, b               a, b        the adapter's down- and up-projection; ``a`` has orthonormal columns
gradient_factor    f           2 for the loss (1/m)||.||^2, 1 for (1/(2m))||.||^2
eta, kappa         eta, kappa  the step size, and eta ||b*||^2
local_steps        K           gradient steps a round
iterations         T           of Algorithm 2, two communication rounds each; ``num_rounds`` counts rounds
steps              q           A-rounds a period
noise              sigma       standard deviation of the label noise
instances                      independent draws that are computed together
key                            the named stream of all randomness of a function
=================  ==========  ==========================================================================================

In ``theory.studies``: ``seed`` is the root of all randomness (or the number of a draw in the record), ``quick`` asks for the
shortened sizes, and ``progress`` is called with the share that is done.
"""
